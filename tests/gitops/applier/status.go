package main

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func kstatus(object *unstructured.Unstructured) (any, error) {
	found, err := status.Compute(object)
	if err != nil {
		return nil, err
	}
	return answer{"status": found.Status, "message": found.Message}, nil
}
