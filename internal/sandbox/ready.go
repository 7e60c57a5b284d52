package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"k8s.io/client-go/rest"
)

// probe asks a cluster how far it has come. It speaks plain JSON, so that
// importing this package costs no typed client.
type probe struct {
	cluster *Cluster
	client  *http.Client
}

func newProbe(c *Cluster) (*probe, error) {
	config, err := c.RESTConfig()
	if err != nil {
		return nil, err
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("cluster %s: %w", c.Name(), err)
	}
	return &probe{cluster: c, client: client}, nil
}

func (p *probe) etcdListens(ctx context.Context) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.cluster.state.Ports.Etcd)))
	if err != nil {
		return fmt.Errorf("%w: etcd: %w", errNotYet, err)
	}
	return conn.Close()
}

func (p *probe) apiServerReady(ctx context.Context) error {
	_, err := p.get(ctx, "/readyz")
	return err
}

// clusterReady means that a pod created now would be admitted, scheduled and
// run: the service account and storage class exist and every node is ready
// and free of the taints it starts with.
func (p *probe) clusterReady(ctx context.Context) error {
	needed := []string{"/api/v1/namespaces/default/serviceaccounts/default"}
	if !p.cluster.state.Spec.RealNodes { // it has no volume driver, nor who measures
		needed = append(needed,
			"/apis/storage.k8s.io/v1/storageclasses/standard",
			// An API that is registered and not there fails discovery as a whole.
			"/apis/metrics.k8s.io/v1beta1")
	}
	for _, path := range needed {
		if _, err := p.get(ctx, path); err != nil {
			return err
		}
	}
	data, err := p.get(ctx, "/api/v1/nodes")
	if err != nil {
		return err
	}
	return nodesReady(data, p.cluster.state.Spec.Nodes)
}

// nodesReady reads a v1 NodeList.
func nodesReady(data []byte, want int) error {
	var nodes struct {
		Items []struct {
			Spec struct {
				Taints []struct{ Key string }
			}
			Status struct {
				Conditions []struct{ Type, Status string }
			}
		}
	}
	if err := json.Unmarshal(data, &nodes); err != nil {
		return fmt.Errorf("%w: read nodes: %w", errNotYet, err)
	}
	ready := 0
	for _, node := range nodes.Items {
		for _, condition := range node.Status.Conditions {
			if condition.Type == "Ready" && condition.Status == "True" && len(node.Spec.Taints) == 0 {
				ready++
			}
		}
	}
	if ready < want {
		return fmt.Errorf("%w: %d of %d nodes ready", errNotYet, ready, want)
	}
	return nil
}

func (p *probe) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.cluster.state.Server()+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := p.client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotYet, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotYet, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%w: GET %s: %s", errNotYet, path, response.Status)
	}
	return body, nil
}
