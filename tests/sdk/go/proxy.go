package main

import (
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
)

// Proxy is a TCP proxy between SDK and node, whose cable can be cut.
type Proxy struct {
	url string

	mu     sync.Mutex
	node   string
	isCut  bool
	silent bool
	// The connections that are carried.
	pairs map[*pair]struct{}
}

type pair struct{ client, node net.Conn }

// proxyTo listens, and forwards to the node at `target`.
func proxyTo(target string) *Proxy {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	p := &Proxy{pairs: map[*pair]struct{}{}}
	p.leadTo(target)
	p.url = strings.Replace(target, p.node, listener.Addr().String(), 1)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.accept(client)
		}
	}()
	return p
}

// leadTo forwards new connections to the node at `target`.
func (p *Proxy) leadTo(target string) {
	node, err := url.Parse(target)
	must(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.node = node.Host
}

func (p *Proxy) accept(client net.Conn) {
	p.mu.Lock()
	address, isCut := p.node, p.isCut
	p.mu.Unlock()
	if isCut {
		client.Close()
		return
	}
	node, err := net.Dial("tcp", address)
	if err != nil {
		client.Close()
		return
	}
	it := &pair{client, node}
	p.mu.Lock()
	if !p.silent {
		p.pairs[it] = struct{}{}
	}
	p.mu.Unlock()
	go p.carry(it, client, node)
	p.carry(it, node, client)
}

func (p *Proxy) carry(it *pair, from, to net.Conn) {
	buffer := make([]byte, 65536)
	for {
		read, err := from.Read(buffer)
		p.mu.Lock()
		_, carried := p.pairs[it]
		p.mu.Unlock()
		if carried && read > 0 {
			if _, err := to.Write(buffer[:read]); err != nil {
				break
			}
		}
		if err == io.EOF || err != nil {
			break
		}
	}
	p.mu.Lock()
	delete(p.pairs, it)
	p.mu.Unlock()
	it.client.Close()
	it.node.Close()
}

// cut breaks every connection, and refuses new ones.
func (p *Proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isCut = true
	for it := range p.pairs {
		it.client.Close()
		it.node.Close()
	}
}

// silence drops what existing and new connections carry, without a sign to either side.
func (p *Proxy) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = true
	p.pairs = map[*pair]struct{}{}
}

// heal lets new connections through.
func (p *Proxy) heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isCut, p.silent = false, false
}
