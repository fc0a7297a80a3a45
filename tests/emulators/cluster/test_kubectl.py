"""Real kubectl against the emulated cluster: every command that the documentation of this project uses, and more."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from basetracker.emulators.cluster import Cluster

from .conftest import HERE, deployment, widget

KUBECTL = Path(sys.executable).parent / "kubectl"
pytestmark = pytest.mark.skipif(not KUBECTL.exists(), reason="kubectl isn't installed in this environment")


@dataclass
class Kubectl:
    """kubectl with a kubeconfig and a home of its own; `namespace` is the default one."""

    home: Path
    cluster: Cluster
    namespace: str = "shop"

    async def run(self, *arguments: str, stdin: str = "", fails: bool = False) -> str:
        """The output, both streams; the exit code is checked."""
        environment = {"HOME": str(self.home), "KUBECONFIG": str(self.home / "config"), "PATH": "/usr/bin:/bin"}
        process = await asyncio.create_subprocess_exec(
            KUBECTL,
            "-n",
            self.namespace,
            *arguments,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(process.communicate(stdin.encode()), 30)
        text = output.decode()
        assert (process.returncode != 0) is fails, text
        return text

    def file(self, *documents: object) -> str:
        path = self.home / f"{len(list(self.home.iterdir()))}.yaml"
        path.write_text(yaml.safe_dump_all(documents))
        return str(path)


@pytest.fixture
async def kubectl(cluster: Cluster, tmp_path: Path) -> Kubectl:
    (tmp_path / "config").write_text(yaml.safe_dump(cluster.kubeconfig(namespace="shop")))
    runner = Kubectl(tmp_path, cluster)
    await cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    assert "created" in await runner.run("apply", "-f", str(HERE / "widgets.yaml"))
    return runner


async def test_apply_get_and_describe(kubectl: Kubectl) -> None:
    file = kubectl.file(widget(replicas=2))
    assert "widget.test.basetracker.dev/one created" in await kubectl.run("apply", "-f", file)
    assert "widget.test.basetracker.dev/one unchanged" in await kubectl.run("apply", "-f", file)
    lines = (await kubectl.run("get", "wid")).splitlines()
    assert lines[0].split() == ["NAME", "IMAGE", "REPLICAS", "READY", "SINCE", "AGE"]
    assert lines[1].split()[:3] == ["one", "team/app:1", "2"]
    assert "MESSAGE" in await kubectl.run("get", "widgets.test.basetracker.dev", "-o", "wide")
    assert json.loads(await kubectl.run("get", "widget", "one", "-o", "json"))["spec"]["mode"] == "Apply"
    assert await kubectl.run("get", "widget", "one", "-o", "jsonpath={.spec.replicas}") == "2"
    assert "team/app:1" in await kubectl.run("describe", "widget", "one")
    assert "widget.test.basetracker.dev/one" in await kubectl.run("get", "gear", "-o", "name")


async def test_refusals_in_the_servers_words(kubectl: Kubectl) -> None:
    text = await kubectl.run("apply", "-f", kubectl.file(widget(image="team/app")), fails=True)
    assert 'The Widget "one" is invalid: spec.image: Invalid value: "team/app": the image has no tag' in text
    text = await kubectl.run("apply", "-f", kubectl.file(widget(wrong=1)), fails=True)
    assert 'unknown field "spec.wrong"' in text
    broken = deployment()
    broken["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    text = await kubectl.run("apply", "-f", kubectl.file(broken), fails=True)
    assert 'unknown field "spec.template.spec.containers[0].imagee"' in text


async def test_patch_label_annotate_edit_and_delete(kubectl: Kubectl) -> None:
    await kubectl.run("create", "-f", kubectl.file(widget()))
    await kubectl.run("patch", "widget", "one", "--type=merge", "-p", '{"spec":{"replicas":4}}')
    operations = '[{"op":"test","path":"/spec/replicas","value":4},{"op":"replace","path":"/spec/replicas","value":5}]'
    await kubectl.run("patch", "widget", "one", "--type=json", "-p", operations)
    text = await kubectl.run("patch", "widget", "one", "--type=json", "-p", operations, fails=True)
    assert "the server rejected our request due to an error in our request" in text
    status = '{"status":{"conditions":[{"type":"Ready","status":"True"}]}}'
    await kubectl.run("patch", "widget", "one", "--subresource=status", "--type=merge", "-p", status)
    assert "condition met" in await kubectl.run("wait", "--for=condition=Ready", "widget/one", "--timeout=5s")
    await kubectl.run("label", "widget", "one", "tier=gold")
    assert "one" in await kubectl.run("get", "widget", "-l", "tier=gold")
    await kubectl.run("annotate", "widget", "one", "example.com/ask=1")
    await kubectl.run("scale", "widget/one", "--replicas=7")
    found = kubectl.cluster.get("Widget", "shop", "one")
    assert found is not None
    assert found["spec"]["replicas"] == 7
    assert found["metadata"]["annotations"]["example.com/ask"] == "1"
    assert "deleted" in await kubectl.run("delete", "widget", "one", "--wait=true", "--timeout=5s")
    assert "NotFound" in await kubectl.run("get", "widget", "one", fails=True)


async def test_replace_is_a_put(kubectl: Kubectl) -> None:
    await kubectl.run("create", "-f", kubectl.file(widget()))
    document = json.loads(await kubectl.run("get", "widget", "one", "-o", "json"))
    document["spec"]["replicas"] = 3
    assert "replaced" in await kubectl.run("replace", "-f", kubectl.file(document))
    assert "Conflict" in await kubectl.run(
        "replace", "-f", kubectl.file(document | {"spec": widget()["spec"]}), fails=True
    )


async def test_apply_on_the_server(kubectl: Kubectl) -> None:
    await kubectl.run("apply", "--server-side", "--field-manager=git", "-f", kubectl.file(widget(replicas=2)))
    await kubectl.run("patch", "widget", "one", "--type=merge", "-p", '{"spec":{"replicas":4}}')
    file = kubectl.file(widget(replicas=2))
    text = await kubectl.run("apply", "--server-side", "--field-manager=git", "-f", file, fails=True)
    assert "Apply failed with 1 conflict" in text
    assert ".spec.replicas" in text
    await kubectl.run("apply", "--server-side", "--field-manager=git", "--force-conflicts", "-f", file)
    assert "manager: git" in await kubectl.run("get", "widget", "one", "-o", "yaml", "--show-managed-fields")


async def test_apply_moves_from_the_client_to_the_server(kubectl: Kubectl) -> None:
    file = kubectl.file(widget(replicas=2))
    await kubectl.run("apply", "-f", file)
    assert "serverside-applied" in await kubectl.run("apply", "--server-side", "-f", file)
    managers = json.loads(await kubectl.run("get", "widget", "one", "-o", "json", "--show-managed-fields"))
    assert "kubectl-client-side-apply" not in {item["manager"] for item in managers["metadata"]["managedFields"]}


async def test_diff(kubectl: Kubectl) -> None:
    await kubectl.run("apply", "-f", kubectl.file(widget(replicas=2)))
    text = await kubectl.run("diff", "-f", kubectl.file(widget(replicas=3)), fails=True)
    assert "-  replicas: 2" in text
    assert "+  replicas: 3" in text
    assert await kubectl.run("diff", "-f", kubectl.file(widget(replicas=2))) == ""


async def test_apply_a_kustomization(kubectl: Kubectl) -> None:
    directory = kubectl.home / "base"
    directory.mkdir()
    (directory / "kustomization.yaml").write_text("namePrefix: my-\nresources: [widget.yaml]\n")
    (directory / "widget.yaml").write_text(yaml.safe_dump(widget()))
    assert "widget.test.basetracker.dev/my-one created" in await kubectl.run("apply", "-k", str(directory))


async def test_explain_and_discovery(kubectl: Kubectl) -> None:
    assert "What is wanted of the widget." in await kubectl.run("explain", "widget.spec")
    text = await kubectl.run("explain", "deployment.spec.template.spec.containers.image")
    assert "Container image name" in text
    text = await kubectl.run("api-resources")
    assert "wid" in text
    assert "test.basetracker.dev/v1alpha1" in text
    assert "Server Version: v1.36" in await kubectl.run("version")


async def test_a_rollout_from_end_to_end(kubectl: Kubectl) -> None:
    await kubectl.run("apply", "-f", kubectl.file(deployment(replicas=2)))
    assert "successfully rolled out" in await kubectl.run("rollout", "status", "deployment/web", "--timeout=20s")
    await kubectl.run("set", "image", "deployment/web", "app=registry.example.com/web:2")
    await kubectl.run("annotate", "deployment/web", "kubernetes.io/change-cause=second image")
    await kubectl.run("rollout", "status", "deployment/web", "--timeout=20s")
    assert "second image" in await kubectl.run("rollout", "history", "deployment/web")
    await kubectl.run("rollout", "undo", "deployment/web")
    await kubectl.run("rollout", "status", "deployment/web", "--timeout=20s")
    assert "web:1" in await kubectl.run("rollout", "history", "deployment/web", "--revision=3")
    await kubectl.run("rollout", "restart", "deployment/web")
    await kubectl.run("rollout", "status", "deployment/web", "--timeout=20s")
    await kubectl.run("scale", "deployment/web", "--replicas=3")
    await kubectl.run("wait", "--for=jsonpath={.status.readyReplicas}=3", "deployment/web", "--timeout=20s")
    lines = (await kubectl.run("get", "pods", "-o", "wide")).splitlines()
    assert sum("Running" in line for line in lines) >= 3
    assert "ScalingReplicaSet" in await kubectl.run("get", "events")
    assert "NewReplicaSetAvailable" in await kubectl.run("describe", "deployment", "web")
    assert "deployment.apps/web" in await kubectl.run("get", "all")
    await kubectl.run("delete", "deployment", "web")
    await kubectl.run("wait", "--for=delete", "pods", "-l", "app=web", "--timeout=20s")


async def test_watching(kubectl: Kubectl) -> None:
    await kubectl.run("create", "-f", kubectl.file(widget()))
    watching = asyncio.create_task(kubectl.run("get", "widget", "-w", "--request-timeout=3s"))
    await asyncio.sleep(1)
    await kubectl.cluster.patch("Widget", "shop", "one", {"spec": {"replicas": 9}})
    lines = (await watching).splitlines()
    assert [line.split()[2] for line in lines] == ["REPLICAS", "1", "9"]


async def test_what_kubectl_sends_in_protobuf(kubectl: Kubectl) -> None:
    await kubectl.run("create", "namespace", "other")
    await kubectl.run("create", "configmap", "settings", "--from-literal=a=b")
    await kubectl.run("create", "secret", "generic", "keys", "--from-literal=k=v")
    await kubectl.run("create", "serviceaccount", "bot")
    await kubectl.run("create", "role", "reader", "--verb=get,list", "--resource=configmaps")
    await kubectl.run("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=shop:bot")
    await kubectl.run("create", "deployment", "made", "--image=nginx", "--replicas=2", "--port=80")
    found = kubectl.cluster.get("Deployment", "shop", "made")
    assert found is not None
    assert found["spec"]["replicas"] == 2
    assert found["spec"]["template"]["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    bot = "--as=system:serviceaccount:shop:bot"
    assert await kubectl.run("auth", "can-i", "list", "configmaps", bot) == "yes\n"
    assert await kubectl.run("auth", "can-i", "delete", "configmaps", bot, fails=True) == "no\n"
    assert "configmaps" in await kubectl.run("auth", "can-i", "--list", bot)
    assert "system:serviceaccount:shop:bot" in await kubectl.run("auth", "whoami", bot)
    assert (await kubectl.run("create", "token", "bot")).count(".") == 2
    text = await kubectl.run("create", "cronjob", "c", "--image=x", "--schedule=* * * * *", fails=True)
    assert "which is only read as JSON here" in text


async def test_a_namespace_and_a_definition_can_be_deleted(kubectl: Kubectl) -> None:
    await kubectl.run("create", "-f", kubectl.file(widget()))
    await kubectl.run("delete", "crd", "widgets.test.basetracker.dev", "--timeout=10s")
    assert "could not find the requested resource" in await kubectl.run("get", "widgets", fails=True)
    await kubectl.run("delete", "namespace", "shop", "--timeout=10s")
    assert kubectl.cluster.list("ConfigMap", "shop") == []
