"""The operator at scale: thousands of ImageBuilds in a real API server, the operator as a process of its own.

What is real: etcd, the API server, the Job controller and the garbage collector, the registry with its manifests, the
operator. What is simulated: the nodes (`node.py` says what a kubelet would) and the work of the builder pods.
"""
