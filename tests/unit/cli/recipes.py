"""The recipe that people pass around: a base job template and a prefect.yaml with it."""

from typing import Any

from tests.unit.delivery.samples import pool

IMAGE = "registry.example.com/flows:1"

SCRIPT = """\
set -e
mkdir -p /opt/pydeps
if [ -n "$EXTRA_PY_DEPS" ]; then
  echo "installing $EXTRA_PY_DEPS"
  python -m pip install --no-cache-dir --target /opt/pydeps \\
    --extra-index-url https://more.example.com/simple \\
    --index-url https://packages.example.com/simple $EXTRA_PY_DEPS || exit 1
fi
"""


def with_recipe(packages: Any = "pandas>=2.2 pyarrow") -> dict[str, Any]:
    """Prefect's template with the recipe, beside what a team has of its own."""
    template = with_own()
    template["variables"]["properties"]["extra_py_deps"] = {
        "type": "string",
        "title": "Extra packages",
        "default": packages,
    }
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    pod["initContainers"].append(
        {
            "name": "install-deps",
            "image": IMAGE,
            "command": ["/bin/sh", "-c"],
            "args": [SCRIPT],
            "env": [{"name": "EXTRA_PY_DEPS", "value": "{{ extra_py_deps }}"}],
            "volumeMounts": [
                {"name": "pydeps", "mountPath": "/opt/pydeps"},
                {"name": "pip-cache", "mountPath": "/root/.cache/pip"},
            ],
        }
    )
    pod["volumes"] += [
        {"name": "pydeps", "emptyDir": {}},
        {"name": "pip-cache", "hostPath": {"path": "/var/cache/pip"}},
    ]
    flow = pod["containers"][0]
    flow["volumeMounts"].append({"name": "pydeps", "mountPath": "/opt/pydeps", "readOnly": True})
    flow["env"] += [{"name": "PYTHONPATH", "value": "/opt/pydeps:$(PYTHONPATH)"}]
    return template


def with_own() -> dict[str, Any]:
    """The same template before the recipe came."""
    template = pool(image=IMAGE)
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    pod["initContainers"] = [
        {
            "name": "certificates",
            "image": "registry.example.com/certs:1",
            "volumeMounts": [{"name": "certs", "mountPath": "/certs"}],
        }
    ]
    pod["volumes"] = [{"name": "certs", "emptyDir": {}}]
    flow = pod["containers"][0]
    flow["volumeMounts"] = [{"name": "certs", "mountPath": "/certs"}]
    flow["env"] = [{"name": "REGION", "value": "north"}]
    return template


PREFECT_YAML = """\
name: reports
pull:
  - prefect.deployments.steps.git_clone:
      id: clone
      repository: https://git.example.com/reports.git
  - prefect.deployments.steps.pip_install_requirements:
      directory: "{{ clone.directory }}"
      requirements_file: requirements-flows.txt
deployments:
  - name: nightly
    entrypoint: flows.py:nightly
    work_pool: {name: kubernetes}
  - name: weekly
    entrypoint: flows.py:weekly
    pull:
      - prefect.deployments.steps.run_shell_script:
          script: |
            pip install 'openpyxl>=3' && echo installed
      - prefect.deployments.steps.run_shell_script:
          script: |
            pip install statsmodels
            ./prepare.sh
    work_pool:
      name: kubernetes
      job_variables:
        env: {EXTRA_PIP_PACKAGES: "s3fs boto3", REGION: south}
        cpu: 2
"""
