package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/centrifugal/centrifuge-go"
)

var plain = centrifuge.Config{}

func connectsWithNameAndData(s *Stage) {
	config := centrifuge.Config{Name: "app", Version: "1.2", Data: []byte(`{"greeting":"grüß"}`)}
	one, two := s.connected("one", s.at(0), config), s.connected("two", s.at(1), config)
	ids := []string{one.connected[0].ClientID, two.connected[0].ClientID}
	check(ids[0] != "" && ids[0] != ids[1], "two clients, two ids: %v", ids)
	must(one.Disconnect())
	s.until("one is disconnected", func() bool { return len(one.disconnected) == 1 })
	must(one.Connect())
	one.isConnected(2)
	check(!slices.Contains(ids, one.connected[1].ClientID), "a new connection has a new id")
	two.stayed()
}

func bothClientsSeeExactlyWhatWasSent(s *Stage) {
	sent := []any{
		"text", "", "grüße 日本語 \U0001f468\u200d\U0001f469 \u202e rtl", "line\nbreak\r\ttab\x00\"\\/", nil, true, 0, -1.5,
		json.RawMessage(`2.50`), json.RawMessage(`9007199254740993`), []any{}, map[string]any{}, []any{[]any{}, nil},
		json.RawMessage(`{"b":1,"a":{"push":{"id":1}},"":0}`), "{}", " ", strings.Repeat("x", 50_000),
		json.RawMessage(strings.Repeat("[", 100) + strings.Repeat("]", 100)),
	}
	anna, ben := s.connected("anna", s.at(0), plain), s.connected("ben", s.at(1), plain)
	annas, bens := anna.join("room"), ben.join("room")
	annas.publishAll(sent)
	bens.publishAll([]any{"hi", "bye"})
	sent = append(sent, "hi", "bye")
	for _, room := range []*Room{annas, bens} {
		room.got(sent)
		for at, publication := range room.publications {
			author := anna
			if at >= len(sent)-2 {
				author = ben
			}
			check(publication.Info.Client == author.connected[0].ClientID && publication.Info.User == "", "%+v", publication.Info)
		}
	}
}

func everybodySeesOneOrder(s *Stage) {
	var rooms []*Room
	for n := range 4 {
		name := fmt.Sprint("client ", n)
		rooms = append(rooms, s.connected(name, s.at(n), plain).join("room"))
	}
	var all sync.WaitGroup
	for n, room := range rooms {
		all.Go(func() { room.publishAll(messages(fmt.Sprint(n), 40)) })
	}
	all.Wait()
	rooms[0].publishAll([]any{"end"})
	for _, room := range rooms {
		s.until(room.who+" has all", func() bool { return len(room.publications) == 161 })
		same(room.who, texts(room.publications), texts(rooms[0].publications))
	}
	for n := range rooms {
		sender := textsOf(messages(fmt.Sprint(n), 40))
		own := slices.DeleteFunc(texts(rooms[0].publications), func(text string) bool { return !slices.Contains(sender, text) })
		same("each sender's own order", own, sender)
	}
}

func errorsHaveTheirCodes(s *Stage) {
	client := s.connected("client", s.at(0), plain)
	room := client.join("room")
	publish := func(channel, data string) error {
		_, err := client.Publish(soon(), channel, []byte(data))
		return err
	}
	history := func(channel string, since *centrifuge.StreamPosition) error {
		_, err := client.History(soon(), channel, centrifuge.WithHistoryLimit(1), centrifuge.WithHistorySince(since))
		return err
	}
	_, rpc := client.RPC(soon(), "chat.send", []byte(`{}`))
	_, presence := client.Presence(soon(), "elsewhere")
	for _, it := range []struct {
		what string
		err  error
		code uint32
	}{
		{"publish without subscribe", publish("elsewhere", "1"), 103},
		{"history without subscribe", history("elsewhere", nil), 103},
		{"publish to an unknown class", publish("unknown:room", "1"), 102},
		{"publish to a room with a name too long", publish(strings.Repeat("r", 256), "1"), 107},
		{"a message too large", publish("room", `"`+strings.Repeat("x", 70_000)+`"`), 106},
		{"a message nested too deep", publish("room", strings.Repeat("[", 300)+strings.Repeat("]", 300)), 107},
		{"history of another epoch", history("room", &centrifuge.StreamPosition{Offset: 1, Epoch: "other"}), 112},
		{"rpc", rpc, 108},
		{"presence elsewhere", presence, 103},
	} {
		code := refused(it.err)
		check(code == it.code, "%s: %d instead of %d", it.what, code, it.code)
	}
	client.enter(strings.Repeat("r", 256), centrifuge.SubscriptionConfig{}).isRefused(107)
	client.enter("unknown:room", centrifuge.SubscriptionConfig{}).isRefused(102)
	room.publishAll([]any{"still here"})
	room.got([]any{"still here"})
	client.stayed()
}

func historyGoesBothWays(s *Stage) {
	client := s.connected("client", s.at(0), plain)
	room := client.join("room")
	sent := messages("client", 12)
	room.publishAll(sent)
	room.got(sent)
	page := func(options ...centrifuge.HistoryOption) centrifuge.HistoryResult {
		page, err := room.History(soon(), options...)
		must(err)
		return page
	}
	limit, reverse := centrifuge.WithHistoryLimit, centrifuge.WithHistoryReverse(true)
	all := page(limit(-1))
	same("all", all.Publications, room.publications)
	same("epoch", all.Epoch, room.subscribed[0].StreamPosition.Epoch)
	since := func(at int) centrifuge.HistoryOption {
		position := centrifuge.StreamPosition{Offset: all.Publications[at].Offset, Epoch: all.Epoch}
		return centrifuge.WithHistorySince(&position)
	}
	same("the position alone", []any{len(page(limit(0)).Publications), page().Offset}, []any{0, all.Offset})
	expected := textsOf(sent)
	same("the first five", texts(page(limit(5)).Publications), expected[:5])
	same("on from the fourth", texts(page(limit(5), since(3)).Publications), expected[4:9])
	same("back from the fourth", texts(page(limit(2), since(3), reverse).Publications), []string{expected[2], expected[1]})
	same("the newest", texts(page(limit(1), reverse).Publications), expected[11:])
}

func resubscribeRecovers(s *Stage) {
	writing := s.connected("writer", s.at(0), plain).join("room")
	reader := s.connected("reader", s.at(1), plain)
	room := reader.join("room")
	sent := messages("writer", 40)
	writing.publishAll(sent[:10])
	room.got(sent[:10])
	for round, from := range []int{10, 20, 30} {
		must(room.Unsubscribe())
		writing.publishAll(sent[from : from+10])
		must(room.Subscribe())
		room.isSubscribed(round + 2)
		room.cameBack(true)
		room.got(sent[:from+10])
	}
	reader.stayed()
}

func presenceAndItsNumbers(s *Stage) {
	var clients []*Client
	var rooms []*Room
	for n := range 3 {
		client := s.connected(fmt.Sprint("client ", n), s.at(n), plain)
		clients, rooms = append(clients, client), append(rooms, client.join("room"))
	}
	present, err := rooms[0].Presence(soon())
	must(err)
	for _, client := range clients {
		id := client.connected[0].ClientID
		check(present.Clients[id].Client == id, "%s is there: %v", id, present.Clients)
	}
	numbers, err := rooms[1].PresenceStats(soon())
	must(err)
	same("numbers", []any{len(present.Clients), numbers.NumClients, numbers.NumUsers}, []any{3, 3, 1})
}

func joinsAndLeavesAreEvents(s *Stage) {
	anna := s.connected("anna", s.at(0), plain)
	room := anna.join("live:room", centrifuge.SubscriptionConfig{JoinLeave: true})
	ben := s.connected("ben", s.at(1), plain)
	bens := ben.join("live:room")
	s.until("anna saw two come", func() bool { return len(room.joins) == 2 })
	must(bens.Unsubscribe())
	s.until("anna saw ben leave", func() bool { return len(room.leaves) == 1 })
	annas, id := anna.connected[0].ClientID, ben.connected[0].ClientID
	same("events", [][]string{room.joins, room.leaves}, [][]string{{annas, id}, {id}})
	room.publishAll([]any{"on"})
	room.got([]any{"on"})
	anna.stayed()
}

// Several ping intervals long, under traffic and in silence: nobody is closed.
func pingsKeepTheConnection(s *Stage) {
	config := centrifuge.Config{MaxServerPingDelay: 2 * time.Second}
	writer, idle := s.connected("writer", s.at(0), config), s.connected("idle", s.at(0), config)
	room := writer.join("room")
	var sent []any
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(30 * time.Millisecond) {
		sent = append(sent, len(sent))
		room.publishAll(sent[len(sent)-1:])
	}
	room.got(sent)
	writer.stayed()
	idle.stayed()
}
