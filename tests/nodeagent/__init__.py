"""A small kubelet for tests: Pods are local processes. `python -m tests.nodeagent SETTINGS.json` is one Node.

What it keeps to is the part of https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/ that a Pod can
notice: environment, files, probes, restarts, grace. What it does not do: namespaces of the kernel, images, networks,
securityContext, resource limits, sidecar containers, readiness gates. What a Pod asks for that it cannot give is
refused by name in the Pod's status.

It speaks JSON with the API server over aiohttp, and not by the official client: that one blocks, so each watch would
be a thread, and its generated classes would say nothing that `spec` does not say in a page.
"""
