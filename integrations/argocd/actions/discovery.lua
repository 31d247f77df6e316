-- A refresh is offered only if it would have an effect.
local spec = obj.spec or {}
local held = spec.revision ~= nil and spec.updates ~= "Manual"
return {
  refresh = {
    disabled = spec.suspend == true or spec.lockFrom ~= nil or held,
    displayName = "Refresh pins",
    iconClass = "fa fa-fw fa-sync",
  },
}
