package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"
	kapply "sigs.k8s.io/cli-utils/pkg/apply"
	"sigs.k8s.io/cli-utils/pkg/apply/event"
	"sigs.k8s.io/cli-utils/pkg/common"
	"sigs.k8s.io/cli-utils/pkg/inventory"
	"sigs.k8s.io/cli-utils/pkg/manifestreader"
	"sigs.k8s.io/cli-utils/pkg/object"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

type options struct {
	kubeconfig, url, revision, folder, namespace, inventory string
	wait                                                    time.Duration
	serverSide                                              bool
}

// apply brings a folder of a git repository to the cluster, prunes what it held before, and waits for all of it.
func apply(words []string) error {
	var given options
	flags := flag.NewFlagSet("apply", flag.ContinueOnError)
	flags.StringVar(&given.kubeconfig, "kubeconfig", "", "")
	flags.StringVar(&given.url, "url", "", "of the git repository")
	flags.StringVar(&given.revision, "revision", "main", "a branch")
	flags.StringVar(&given.folder, "folder", ".", "in the repository")
	flags.StringVar(&given.namespace, "namespace", "default", "of objects that name none, and of the inventory")
	flags.StringVar(&given.inventory, "inventory", "", "its name")
	flags.DurationVar(&given.wait, "wait", time.Minute, "how long to wait for all to be as asked")
	flags.BoolVar(&given.serverSide, "server-side", false, "")
	if err := flags.Parse(words); err != nil {
		return err
	}
	clone, err := os.MkdirTemp("", "applier-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(clone)
	git := exec.Command("git", "clone", "--quiet", "--depth=1", "--branch", given.revision, "--", given.url, clone)
	if said, err := git.CombinedOutput(); err != nil {
		return fmt.Errorf("git clone: %w: %s", err, said)
	}
	return given.apply(filepath.Join(clone, given.folder))
}

func (given options) apply(folder string) error {
	flags := genericclioptions.NewConfigFlags(false)
	flags.KubeConfig, flags.Namespace = &given.kubeconfig, &given.namespace
	factory := cmdutil.NewFactory(flags)
	objects, err := read(factory, folder)
	if err != nil {
		return err
	}
	client, err := inventory.ClusterClientFactory{StatusPolicy: inventory.StatusPolicyNone}.NewClient(factory)
	if err != nil {
		return err
	}
	applier, err := kapply.NewApplierBuilder().WithFactory(factory).WithInventoryClient(client).Build()
	if err != nil {
		return err
	}
	events := applier.Run(context.Background(), given.inventoryInfo(), objects, kapply.ApplierOptions{
		ServerSideOptions: common.ServerSideOptions{
			ServerSideApply: given.serverSide, ForceConflicts: given.serverSide, FieldManager: "applier",
		},
		ReconcileTimeout:       given.wait,
		EmitStatusEvents:       true,
		PrunePropagationPolicy: metav1.DeletePropagationBackground,
		PruneTimeout:           given.wait,
		InventoryPolicy:        inventory.PolicyAdoptIfNoInventory,
	})
	return report(events)
}

// read gives the objects of a folder of manifests, or those that kustomize makes of it, as Flux does.
func read(factory cmdutil.Factory, folder string) (object.UnstructuredSet, error) {
	if _, err := os.Stat(filepath.Join(folder, "kustomization.yaml")); err == nil {
		if folder, err = rendered(folder); err != nil {
			return nil, err
		}
		defer os.RemoveAll(folder)
	}
	reader, err := manifestreader.NewManifestLoader(factory).ManifestReader(os.Stdin, folder)
	if err != nil {
		return nil, err
	}
	return reader.Read()
}

// rendered writes what kustomize makes of a folder into a new one.
func rendered(folder string) (string, error) {
	made, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return "", err
	}
	text, err := made.AsYaml()
	if err != nil {
		return "", err
	}
	target, err := os.MkdirTemp("", "applier-")
	if err != nil {
		return "", err
	}
	return target, os.WriteFile(filepath.Join(target, "all.yaml"), text, 0o600)
}

func (given options) inventoryInfo() inventory.Info {
	body := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1",
		"kind":       "ConfigMap",
		"metadata": map[string]any{
			"name":      given.inventory,
			"namespace": given.namespace,
			"labels":    map[string]any{common.InventoryLabel: given.inventory},
		},
	}}
	return inventory.WrapInventoryInfoObj(body)
}

// report says what happens as it happens; its error is that of whatever failed.
func report(events <-chan event.Event) error {
	var failed []error
	for one := range events {
		said, err := told(one)
		if err != nil {
			failed = append(failed, err)
		}
		if said == nil {
			continue
		}
		said["time"] = time.Now().UTC().Format(time.RFC3339Nano)
		if err := say(said); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

func told(one event.Event) (answer, error) {
	switch one.Type {
	case event.ErrorType:
		return nil, one.ErrorEvent.Err
	case event.ValidationType:
		return nil, one.ValidationEvent.Error
	case event.ApplyType:
		found := one.ApplyEvent
		return named("apply", found.Identifier, found.Status.String(), found.Error), found.Error
	case event.PruneType:
		found := one.PruneEvent
		return named("prune", found.Identifier, found.Status.String(), found.Error), found.Error
	case event.WaitType:
		found := one.WaitEvent
		var err error
		if found.Status == event.ReconcileFailed || found.Status == event.ReconcileTimeout {
			err = fmt.Errorf("%s %s: %s", found.Identifier.GroupKind.Kind, found.Identifier.Name, found.Status)
		}
		return named("wait", found.Identifier, found.Status.String(), nil), err
	case event.StatusType:
		found := one.StatusEvent
		if found.PollResourceInfo == nil {
			return nil, found.Error
		}
		said := named("status", found.Identifier, found.PollResourceInfo.Status.String(), found.Error)
		said["message"] = found.PollResourceInfo.Message
		if body := found.Resource; body != nil {
			said["generation"] = body.GetGeneration()
			said["observed"], _, _ = unstructured.NestedInt64(body.Object, "status", "observedGeneration")
		}
		return said, nil
	}
	return nil, nil
}

func named(kind string, id object.ObjMetadata, status string, err error) answer {
	said := answer{"event": kind, "kind": id.GroupKind.Kind, "name": id.Name, "namespace": id.Namespace, "status": status}
	if err != nil {
		said["error"] = err.Error()
	}
	return said
}
