// Runs a script on an object as Argo CD does: in its interpreter, with the few libraries that it
// opens to scripts. On standard input {"script": …, "obj": …}; on standard output what came back.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	lua "github.com/yuin/gopher-lua"
)

type job struct {
	Script string `json:"script"`
	Obj    any    `json:"obj"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var one job
	if err := json.NewDecoder(os.Stdin).Decode(&one); err != nil {
		return err
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	libraries := map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	}
	for _, name := range []string{lua.LoadLibName, lua.BaseLibName, lua.TabLibName} {
		call := lua.P{Fn: state.NewFunction(libraries[name]), Protect: true}
		if err := state.CallByParam(call, lua.LString(name)); err != nil {
			return err
		}
	}
	state.PreloadModule(lua.OsLibName, clock)
	state.SetGlobal("obj", toLua(state, one.Obj))
	if err := state.DoString(one.Script); err != nil {
		return err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return fmt.Errorf("the script returned %s, not a table", state.Get(-1).Type())
	}
	return json.NewEncoder(os.Stdout).Encode(fromLua(table))
}

// clock is the module os with nothing but the time.
func clock(state *lua.LState) int {
	lua.OpenOs(state)
	all := state.Get(-1).(*lua.LTable)
	few := state.NewTable()
	for _, name := range []string{"time", "date"} {
		few.RawSetString(name, all.RawGetString(name))
	}
	state.Push(few)
	return 1
}

func toLua(state *lua.LState, value any) lua.LValue {
	switch one := value.(type) {
	case bool:
		return lua.LBool(one)
	case float64:
		return lua.LNumber(one)
	case string:
		return lua.LString(one)
	case []any:
		table := state.NewTable()
		for _, item := range one {
			table.Append(toLua(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range one {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	}
	return lua.LNil
}

// fromLua takes an empty table for a list: Lua knows no difference.
func fromLua(value lua.LValue) any {
	switch one := value.(type) {
	case lua.LBool:
		return bool(one)
	case lua.LNumber:
		return float64(one)
	case lua.LString:
		return string(one)
	case *lua.LTable:
		list, mapping := []any{}, map[string]any{}
		one.ForEach(func(key, item lua.LValue) {
			if name, ok := key.(lua.LString); ok {
				mapping[string(name)] = fromLua(item)
			} else {
				list = append(list, fromLua(item))
			}
		})
		if len(mapping) > 0 {
			return mapping
		}
		return list
	}
	return nil
}
