package main

import (
	"strings"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

// Reconnects quickly, so that a scenario is short; everything else as it comes.
var quick = centrifuge.Config{MinReconnectDelay: 100 * time.Millisecond, MaxReconnectDelay: 500 * time.Millisecond}

func readerBehindProxy(s *Stage, config centrifuge.Config) (*Proxy, *Room, *Client, *Room) {
	proxy := proxyTo(s.at(1))
	writing := s.connected("writer", s.at(0), quick).join("room")
	reader := s.connected("reader", proxy.url, config)
	return proxy, writing, reader, reader.join("room")
}

// Does something while the reader is cut off, and waits until it is in the room for so many times with nothing missed.
func whileCutOff(proxy *Proxy, reader *Client, room *Room, times int, meanwhile func()) {
	proxy.cut()
	reader.isConnecting(times)
	meanwhile()
	proxy.heal()
	room.isSubscribed(times)
	room.cameBack(true)
}

func cutNetworkCostsNothing(s *Stage) {
	proxy, writing, reader, room := readerBehindProxy(s, plain)
	sent := messages("writer", 60)
	writing.publishAll(sent[:5])
	room.got(sent[:5])
	whileCutOff(proxy, reader, room, 2, func() { writing.publishAll(sent[5:55]) })
	writing.publishAll(sent[55:])
	room.got(sent)
}

// Messages before, during and after each of several cuts, without a pause: each arrives once, in order.
func cutsUnderTrafficLoseNothing(s *Stage) {
	proxy, writing, reader, room := readerBehindProxy(s, quick)
	var sent []any
	stop, stopped := make(chan struct{}), make(chan any)
	go func() {
		defer func() { stopped <- recover() }()
		for {
			select {
			case <-stop:
				return
			default:
				sent = append(sent, []any{len(sent), strings.Repeat("x", 1000)})
				writing.publishAll(sent[len(sent)-1:])
			}
		}
	}()
	for times := 2; times <= 4; times++ {
		before := 0
		s.until("the room is quiet", func() bool { before = len(room.publications); return true })
		s.until("messages flow", func() bool { return len(room.publications) > before+20 })
		whileCutOff(proxy, reader, room, times, func() {})
	}
	close(stop)
	check(<-stopped == nil, "the writer could publish")
	writing.publishAll([]any{"end"})
	room.got(append(sent, "end"))
}

// 2 MB were missed: more than one frame may carry.
func largeRecoveryIsComplete(s *Stage) {
	proxy, writing, reader, room := readerBehindProxy(s, quick)
	writing.publishAll([]any{"before"})
	room.got([]any{"before"})
	all := []any{"before"}
	for n := range 50 {
		all = append(all, []any{n, strings.Repeat("ü", 20_000)})
	}
	whileCutOff(proxy, reader, room, 2, func() { writing.publishAll(all[1:]) })
	writing.publishAll([]any{"after"})
	room.got(append(all, "after"))
}

// No close, no error, just silence: the SDK misses the ping and comes back, and nothing is lost.
func silentNetworkCostsNothing(s *Stage) {
	config := quick
	config.MaxServerPingDelay = 500 * time.Millisecond
	proxy, writing, reader, room := readerBehindProxy(s, config)
	sent := messages("writer", 30)
	writing.publishAll(sent[:5])
	room.got(sent[:5])
	proxy.silence()
	writing.publishAll(sent[5:25])
	reader.isConnecting(2)
	check(reader.connecting[1].Reason == "no ping", "%+v", reader.connecting)
	proxy.heal()
	room.isSubscribed(2)
	room.cameBack(true)
	writing.publishAll(sent[25:])
	room.got(sent)
}

// The embedded broker forgets when the node dies: the SDK is told, and goes on.
func killedNodeComesBack(s *Stage) {
	writer, reader := s.connected("writer", s.at(0), quick), s.connected("reader", s.at(0), quick)
	writing, room := writer.join("room"), reader.join("room")
	before := messages("before", 10)
	writing.publishAll(before)
	room.got(before)
	s.driver("KILL")
	writer.isConnecting(2)
	reader.isConnecting(2)
	s.driver("RESTART")
	writing.isSubscribed(2)
	room.isSubscribed(2)
	room.cameBack(false)
	first, second := room.subscribed[0].StreamPosition, room.subscribed[1].StreamPosition
	check(first.Epoch != second.Epoch, "a new incarnation: %+v %+v", first, second)
	room.publications = nil
	after := messages("after", 20)
	writing.publishAll(after)
	room.got(after)
	// From now on recovery works as ever.
	must(reader.Disconnect())
	writing.publishAll([]any{"later"})
	must(reader.Connect())
	room.isSubscribed(3)
	room.cameBack(true)
	room.got(append(after, "later"))
}

func shutdownSaysSoAndLosesNoClient(s *Stage) {
	clients := []*Client{s.connected("one", s.at(0), quick), s.connected("two", s.at(0), quick)}
	rooms := []*Room{clients[0].join("room"), clients[1].join("room")}
	s.driver("TERM")
	for _, client := range clients {
		client.isConnecting(2)
		check(client.connecting[1].Code == 3001 && client.connecting[1].Reason == "shutdown", "%+v", client.connecting)
	}
	s.driver("RESTART")
	for _, room := range rooms {
		room.isSubscribed(2)
	}
	rooms[0].publishAll([]any{"after"})
	for _, room := range rooms {
		room.got([]any{"after"})
	}
}

// A reader that is led from node to node gets everything once, in order.
func everyNodeGoesOnWhereAnotherOneStopped(s *Stage) {
	proxy, writing, reader, room := readerBehindProxy(s, quick)
	sent := messages("writer", 50)
	writing.publishAll(sent[:10])
	room.got(sent[:10])
	for round, node := range []int{2, 0, 1} {
		from := 10 + round*10
		whileCutOff(proxy, reader, room, round+2, func() {
			writing.publishAll(sent[from : from+10])
			proxy.leadTo(s.at(node))
		})
		room.got(sent[:from+10])
	}
	// What it says itself comes back to it, too.
	room.publishAll(sent[40:])
	room.got(sent)
	writing.got(sent)
}
