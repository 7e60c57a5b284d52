package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestTheShopAnswersOnEachOfItsClustersAndNamesItsPod(t *testing.T) {
	f := fleet(t)
	shop(t, f)
	for _, name := range []string{"a", "b"} {
		member := f.Member(name).Client()
		eventually(t, "the shop answers on "+name, func(ctx context.Context) error {
			web := &corev1.Service{}
			if err := member.Get(ctx, client.ObjectKey{Namespace: "shop", Name: "web"}, web); err != nil {
				return err
			}
			if len(web.Status.LoadBalancer.Ingress) != 1 {
				return fmt.Errorf("its load balancer has the addresses %v", web.Status.LoadBalancer.Ingress)
			}
			var answer struct{ Cluster, Pod, Image string }
			if err := ask(ctx, fmt.Sprintf("http://%s:%d/", web.Status.LoadBalancer.Ingress[0].IP, web.Spec.Ports[0].Port), &answer); err != nil {
				return err
			}
			pod := &corev1.Pod{}
			if err := member.Get(ctx, client.ObjectKey{Namespace: "shop", Name: answer.Pod}, pod); err != nil {
				return err
			}
			if answer.Cluster != name || answer.Image != pod.Spec.Containers[0].Image {
				return fmt.Errorf("the answer is %+v", answer)
			}
			return nil
		})
	}
}

// ask reads the JSON at a URL.
func ask(ctx context.Context, url string, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(into)
}
