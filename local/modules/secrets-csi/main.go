// Tells the kubelet of a CSI driver, as Kubernetes' node-driver-registrar does, whose versions Go cannot name.
// usage: register <driver's name> <driver's socket> <socket to listen at, in the kubelet's plugins_registry>
package main

import (
	"context"
	"log"
	"net"
	"os"
	"time"

	"google.golang.org/grpc"
	registration "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

type server struct {
	registration.UnimplementedRegistrationServer
	name, endpoint string
}

func (s server) GetInfo(context.Context, *registration.InfoRequest) (*registration.PluginInfo, error) {
	return &registration.PluginInfo{
		Type:              registration.CSIPlugin,
		Name:              s.name,
		Endpoint:          s.endpoint,
		SupportedVersions: []string{"1.0.0"},
	}, nil
}

func (s server) NotifyRegistrationStatus(_ context.Context, status *registration.RegistrationStatus) (*registration.RegistrationStatusResponse, error) {
	if !status.PluginRegistered {
		log.Fatalf("the kubelet refused %s: %s", s.name, status.Error)
	}
	log.Printf("the kubelet knows %s", s.name)
	return &registration.RegistrationStatusResponse{}, nil
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: register <driver's name> <driver's socket> <socket to listen at>")
	}
	name, endpoint, socket := os.Args[1], os.Args[2], os.Args[3]
	// Until the driver listens: the kubelet asks it at once, and only once.
	for {
		connection, err := net.Dial("unix", endpoint)
		if err == nil {
			connection.Close()
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err := os.Remove(socket); err != nil && !os.IsNotExist(err) {
		log.Fatal(err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		log.Fatal(err)
	}
	registrar := grpc.NewServer()
	registration.RegisterRegistrationServer(registrar, server{name: name, endpoint: endpoint})
	log.Fatal(registrar.Serve(listener))
}
