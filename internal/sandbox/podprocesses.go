package sandbox

import "fmt"

// PodProcesses are the processes that pods of the cluster are now: those of
// agents, which are all that is run.
func (c *Cluster) PodProcesses() ([]Process, error) {
	kwok, _ := c.process(Kwok)
	children, err := kwok.Children()
	if err != nil {
		return nil, fmt.Errorf("find the pods' processes of cluster %s: %w", c.Name(), err)
	}
	return children, nil
}
