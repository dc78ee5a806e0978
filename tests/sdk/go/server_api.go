package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
)

var calls int

// call calls a method of the server API, at one node after the other. NATTER_API names them, NATTER_API_KEY is their key.
func call(method string, params claims) {
	urls := strings.Split(os.Getenv("NATTER_API"), ",")
	calls++
	body, err := json.Marshal(params)
	must(err)
	request, err := http.NewRequest(http.MethodPost, urls[calls%len(urls)]+"/"+method, bytes.NewReader(body))
	must(err)
	request.Header.Set("X-API-Key", os.Getenv("NATTER_API_KEY"))
	// Directly, whatever proxy the environment names.
	client := http.Client{Transport: &http.Transport{}}
	response, err := client.Do(request)
	must(err)
	defer response.Body.Close()
	var answer struct{ Error any }
	must(json.NewDecoder(response.Body).Decode(&answer))
	check(answer.Error == nil, "%s: %v", method, answer.Error)
}

// The room is the session's: a new connection has it if its token names it. This SDK never forgets a room that it was once
// put into: it asks for what it missed there, and the node tells it only what its token lets it have.
func whoIsPutIntoARoomRecoversIt(s *Stage) {
	proxy := proxyTo(s.at(1))
	ann := s.connected("ann", proxy.url, by(claims{"sub": "ann"}))
	says := func(numbers ...int) {
		for _, n := range numbers {
			call("publish", claims{"channel": "given:news", "data": n})
		}
	}
	call("subscribe", claims{"user": "ann", "channel": "given:news", "data": claims{"why": "invited"}})
	s.until("it is told", func() bool { return len(ann.subscribed) == 1 })
	first := ann.subscribed[0]
	check(first.Recoverable && first.Positioned && !first.WasRecovering && string(first.Data) == `{"why":"invited"}`, "%+v", first)
	check(first.StreamPosition.Epoch != "", "%+v", first.StreamPosition)
	says(1, 2, 3)
	ann.heard(3)
	ann.SetToken(token(claims{"sub": "ann", "channels": []string{"given:news"}}))
	proxy.cut()
	ann.isConnecting(2)
	says(4, 5)
	proxy.leadTo(s.at(2))
	proxy.heal()
	s.until("the room is back", func() bool { return len(ann.subscribed) == 2 })
	check(ann.subscribed[1].WasRecovering && ann.subscribed[1].Recovered, "%+v", ann.subscribed[1])
	says(6)
	ann.heard(6)
	call("unsubscribe", claims{"user": "ann", "channel": "given:news"})
	s.until("it is told of the end", func() bool { return len(ann.unsubscribed) == 1 })
}
