package main

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
)

// startLimit is how long an empty or small data directory may take to open.
const startLimit = 60 * time.Second

// slowRequest is how long a request may take before it is logged.
const slowRequest = time.Second

// runEtcd serves one etcd member until SIGTERM or SIGINT. The data directory is thrown away after the
// run, so it does not wait for the disk (--unsafe-no-fsync).
func runEtcd(arguments []string) error {
	config, err := etcdConfig(arguments)
	if err != nil {
		return err
	}
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return err
	}
	defer etcd.Close()

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-etcd.Server.ReadyNotify():
	case <-time.After(startLimit):
		return fmt.Errorf("etcd was not ready after %s", startLimit)
	case <-stop:
		return nil
	}
	select {
	case <-stop:
		return nil
	case err := <-etcd.Err():
		return err
	}
}

// etcdConfig is a single member that listens only on the loopback URLs it is given.
func etcdConfig(arguments []string) (*embed.Config, error) {
	flags := flag.NewFlagSet("etcd", flag.ContinueOnError)
	dir := flags.String("data-dir", "", "where the data lies")
	client := flags.String("listen-client-url", "", "URL for clients")
	peer := flags.String("listen-peer-url", "", "URL for peers; a member wants one even when it is alone")
	if err := flags.Parse(arguments); err != nil {
		return nil, err
	}
	clientURL, err := url.Parse(*client)
	if err != nil {
		return nil, err
	}
	peerURL, err := url.Parse(*peer)
	if err != nil {
		return nil, err
	}
	config := embed.NewConfig()
	config.Dir = *dir
	config.ListenClientUrls = []url.URL{*clientURL}
	config.AdvertiseClientUrls = []url.URL{*clientURL}
	config.ListenPeerUrls = []url.URL{*peerURL}
	config.AdvertisePeerUrls = []url.URL{*peerURL}
	config.Name = "e2e"
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	config.LogLevel = "warn"
	// An embedded member has no threshold of its own, and would log every request.
	config.WarningUnaryRequestDuration = slowRequest
	config.UnsafeNoFsync = true
	return config, nil
}
