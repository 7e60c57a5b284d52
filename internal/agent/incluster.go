package agent

import (
	"net"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
)

// mountPointVariable names, for a process that is a container without a file
// system of its own, the folder that its mounts are in. HostProcess containers
// of Kubernetes have it, and the agents that the sandbox runs as pods.
const mountPointVariable = "CONTAINER_SANDBOX_MOUNT_POINT"

const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// mounted is where a mount of this container is.
func mounted(path string) string { return filepath.Join(os.Getenv(mountPointVariable), path) }

// inCluster is how a pod reaches its API server, by the account it runs as.
func inCluster() (*rest.Config, error) {
	if os.Getenv(mountPointVariable) == "" {
		return rest.InClusterConfig()
	}
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, rest.ErrNotInCluster
	}
	token := mounted(accountDir + "/token")
	if _, err := os.Stat(token); err != nil {
		return nil, err
	}
	return &rest.Config{
		Host:            "https://" + net.JoinHostPort(host, port),
		TLSClientConfig: rest.TLSClientConfig{CAFile: mounted(accountDir + "/ca.crt")},
		BearerTokenFile: token, // read again as it is renewed
	}, nil
}
