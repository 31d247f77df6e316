"""A real Kubernetes cluster, package index and Prefect for the tests and the demo.

``index`` serves packages that the tests make; ``controlplane`` runs etcd and kube-apiserver;
``node`` adds everything that a pod needs; ``prefect`` runs Prefect's server and worker.
"""
