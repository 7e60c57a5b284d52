package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// A token is a ServiceAccount of the project's namespace, which nothing else
// uses: whoever deletes the account ends the token.
const (
	// tokenLabel holds the token's name, tokenRole what it may do, tokenUntil when
	// it ends (RFC 3339).
	tokenLabel = "atoll.dev/token"
	tokenRole  = "atoll.dev/token-role"
	tokenUntil = "atoll.dev/token-until"

	tokenAccountPrefix = "token-"
	tokenBindingPrefix = "atoll-token-"
	// rolePrefix is before the names of the hub's roles.
	rolePrefix = "atoll:"
	// minTokenLife is Kubernetes' own bound.
	minTokenLife = 10 * time.Minute
)

func newToken(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Tokens for programs, such as a pipeline: of one project, of one role, until a time",
		Example: `  atoll token create ci -p shop --ttl 24h
  atoll token list -p shop
  atoll token revoke ci -p shop`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownVerb(cmd, args)
			}
			return cmd.Help()
		},
	}
	cmd.AddCommand(newTokenCreate(c), newTokenList(c), newTokenRevoke(c))
	return cmd
}

type tokenOptions struct {
	role, output string
	life         time.Duration
}

func newTokenCreate(c *console) *cobra.Command {
	o := tokenOptions{}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a token and print it, this once",
		Long: `Make a ServiceAccount token-NAME in the project, bind it there to a role, and print
a token of it that ends after --ttl. Nobody can give more than they have: the hub
refuses a role with rights that you lack.

--role is one of the hub's roles, such as developer, or the name of any ClusterRole.`,
		Example: `  atoll token create ci -p shop
  atoll token create deploy-bot -p shop --role developer --ttl 720h -o kubeconfig > ci.kubeconfig`,
		Args: takes(1, "a name for the token"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.createToken(cmd.Context(), args[0], o)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.role, "role", "developer", "what it may do in the project")
	f.DurationVar(&o.life, "ttl", 24*time.Hour, "how long it is good, at least 10m")
	f.StringVarP(&o.output, "output", "o", "text", "text, the token alone, or kubeconfig")
	return cmd
}

// tokens are a project's.
func (c *console) tokens() (*hub, *kubernetes.Clientset, error) {
	h, err := c.connect()
	if err != nil {
		return nil, nil, err
	}
	if h.project == "" {
		return nil, nil, wrong("say of which project: -p PROJECT")
	}
	kube, err := kubernetes.NewForConfig(h.config)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the hub: %w", err)
	}
	return h, kube, nil
}

func (c *console) createToken(ctx context.Context, name string, o tokenOptions) error {
	if err := oneOf("output", o.output, "text", "kubeconfig"); err != nil {
		return err
	}
	if problems := validation.IsDNS1123Label(name); len(problems) > 0 || len(name) > 50 {
		return wrong("%q cannot name a token: lower case letters, digits and dashes, at most 50", name)
	}
	if o.life < minTokenLife {
		return wrong("--ttl %s is too short: at least %s", o.life, minTokenLife)
	}
	h, kube, err := c.tokens()
	if err != nil {
		return err
	}
	role, err := findRole(ctx, kube, o.role)
	if err != nil {
		return err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Name: tokenAccountPrefix + name, Namespace: h.project, Labels: map[string]string{tokenLabel: name},
		Annotations: map[string]string{tokenRole: role, tokenUntil: c.now().Add(o.life).UTC().Format(time.RFC3339)},
	}}
	account, err = kube.CoreV1().ServiceAccounts(h.project).Create(ctx, account, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return wrong("project %s has a token %s already; revoke it first, or choose another name", h.project, name)
	}
	if err != nil {
		return fmt.Errorf("make the token's account: %w", err)
	}
	given, err := giveToken(ctx, kube, account, role, o.life)
	if err != nil {
		// Half a token is none. Nobody waits for the answer of the first mistake.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return errors.Join(err, dropToken(ctx, kube, h.project, name))
	}
	c.say("token %s of project %s: %s, good until %s; it is shown this once", name, h.project, role, when(given.ExpirationTimestamp.Time))
	if o.output == "kubeconfig" {
		return c.printTokenKubeconfig(h, given.Token)
	}
	c.print("%s", given.Token)
	return nil
}

// hubRoles are the words for the hub's own roles.
var hubRoles = []string{"viewer", "developer", "releaser", "operator", "secrets", "auditor", "admin"}

// findRole is one of the hub's roles, or the ClusterRole of that very name. Who
// may not look at roles leaves it to the hub to refuse what is not there.
func findRole(ctx context.Context, kube *kubernetes.Clientset, word string) (string, error) {
	name := word
	if slices.Contains(hubRoles, word) {
		name = rolePrefix + word
	}
	_, err := kube.RbacV1().ClusterRoles().Get(ctx, name, metav1.GetOptions{})
	if err == nil || apierrors.IsForbidden(err) {
		return name, nil
	}
	if !apierrors.IsNotFound(err) {
		return "", fmt.Errorf("look for role %s: %w", word, err)
	}
	known := slices.Clone(hubRoles)
	if list, err := kube.RbacV1().ClusterRoles().List(ctx, metav1.ListOptions{}); err == nil {
		for _, role := range list.Items {
			known = append(known, role.Name)
		}
	}
	return "", noRole(word, known)
}

func noRole(word string, known []string) error {
	others := slices.DeleteFunc(slices.Clone(known), func(name string) bool { return name == word })
	return wrong("the hub has no role %q%s", word, didYouMean(word, others))
}

// giveToken binds the account to its role, and only then asks for the token.
func giveToken(ctx context.Context, kube *kubernetes.Clientset, account *corev1.ServiceAccount, role string, life time.Duration) (*authenticationv1.TokenRequestStatus, error) {
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{
			Name: tokenBindingPrefix + account.Labels[tokenLabel], Namespace: account.Namespace, Labels: account.Labels,
			// It goes with the account, whoever deletes that.
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ServiceAccount", Name: account.Name, UID: account.UID}},
		},
		RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account.Name, Namespace: account.Namespace}},
	}
	bindings := kube.RbacV1().RoleBindings(account.Namespace)
	_, err := bindings.Create(ctx, binding, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		// That of a token that was revoked a moment ago; its account is gone.
		if err = bindings.Delete(ctx, binding.Name, metav1.DeleteOptions{}); err == nil || apierrors.IsNotFound(err) {
			_, err = bindings.Create(ctx, binding, metav1.CreateOptions{})
		}
	}
	if apierrors.IsNotFound(err) {
		return nil, noRole(role, hubRoles)
	}
	if err != nil {
		return nil, fmt.Errorf("bind the token to role %s: %w", role, err)
	}
	seconds := int64(life / time.Second)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
	answer, err := kube.CoreV1().ServiceAccounts(account.Namespace).CreateToken(ctx, account.Name, request, metav1.CreateOptions{})
	if err != nil {
		return nil, fmt.Errorf("ask for the token: %w", err)
	}
	return &answer.Status, nil
}

// dropToken ends a token at once: the account is what its tokens are of.
func dropToken(ctx context.Context, kube *kubernetes.Clientset, project, name string) error {
	err := kube.CoreV1().ServiceAccounts(project).Delete(ctx, tokenAccountPrefix+name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("remove the account of token %s: %w", name, err)
	}
	// The binding is of nobody now, and the hub's garbage collector comes for it too.
	bindingErr := kube.RbacV1().RoleBindings(project).Delete(ctx, tokenBindingPrefix+name, metav1.DeleteOptions{})
	if bindingErr != nil && !apierrors.IsNotFound(bindingErr) {
		return fmt.Errorf("the token is revoked; remove its binding: %w", bindingErr)
	}
	return nil
}

func (c *console) printTokenKubeconfig(h *hub, token string) error {
	config := h.config
	if len(config.CAData) == 0 && config.CAFile != "" {
		if err := rest.LoadTLSFiles(config); err != nil {
			return fmt.Errorf("read the hub's authority: %w", err)
		}
	}
	out := clientcmdapi.NewConfig()
	out.Clusters["atoll"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	out.AuthInfos["token"] = &clientcmdapi.AuthInfo{Token: token}
	out.Contexts["atoll"] = &clientcmdapi.Context{Cluster: "atoll", AuthInfo: "token", Namespace: h.project}
	out.CurrentContext = "atoll"
	data, err := clientcmd.Write(*out)
	if err != nil {
		return fmt.Errorf("encode the kubeconfig: %w", err)
	}
	_, err = c.Out.Write(data)
	return err
}
