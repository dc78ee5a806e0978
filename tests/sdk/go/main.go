// One promise, kept towards the unmodified Go SDK: sdk-go <scenario> <ws-url>[,<ws-url>…] [json|protobuf]
//
// Exit code 0 if the promise was kept. A line such as KILL on stdout asks the driver to do that to the node; the scenario
// goes on when DONE comes on stdin.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"
)

var scenarios = map[string]func(*Stage){
	"connects_with_name_and_data":                  connectsWithNameAndData,
	"both_clients_see_exactly_what_was_sent":       bothClientsSeeExactlyWhatWasSent,
	"everybody_sees_one_order":                     everybodySeesOneOrder,
	"errors_have_their_codes":                      errorsHaveTheirCodes,
	"history_goes_both_ways":                       historyGoesBothWays,
	"resubscribe_recovers":                         resubscribeRecovers,
	"presence_and_its_numbers":                     presenceAndItsNumbers,
	"joins_and_leaves_are_events":                  joinsAndLeavesAreEvents,
	"cut_network_costs_nothing":                    cutNetworkCostsNothing,
	"cuts_under_traffic_lose_nothing":              cutsUnderTrafficLoseNothing,
	"large_recovery_is_complete":                   largeRecoveryIsComplete,
	"silent_network_costs_nothing":                 silentNetworkCostsNothing,
	"pings_keep_the_connection":                    pingsKeepTheConnection,
	"killed_node_comes_back":                       killedNodeComesBack,
	"shutdown_says_so_and_loses_no_client":         shutdownSaysSoAndLosesNoClient,
	"every_node_goes_on_where_another_one_stopped": everyNodeGoesOnWhereAnotherOneStopped,
	"a_token_names_its_user":                       aTokenNamesItsUser,
	"wrong_tokens_end_for_good":                    wrongTokensEndForGood,
	"an_expired_token_is_replaced":                 anExpiredTokenIsReplaced,
	"sessions_and_stays_are_refreshed":             sessionsAndStaysAreRefreshed,
	"who_refreshes_too_late_comes_back":            whoRefreshesTooLateComesBack,
	"given_rooms_are_joined_and_recovered":         givenRoomsAreJoinedAndRecovered,
	"who_is_put_into_a_room_recovers_it":           whoIsPutIntoARoomRecoversIt,
}

func main() {
	var scenario func(*Stage)
	if len(os.Args) >= 3 {
		scenario = scenarios[os.Args[1]]
	}
	encoding := "json"
	if len(os.Args) == 4 {
		encoding = os.Args[3]
	}
	if scenario == nil || len(os.Args) > 4 || (encoding != "json" && encoding != "protobuf") {
		names := make([]string, 0, len(scenarios))
		for name := range scenarios {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Fprintf(os.Stderr, "usage: sdk-go <scenario> <ws-url>[,<ws-url>…] [json|protobuf]\nscenarios: %s\n", strings.Join(names, " "))
		os.Exit(2)
	}
	stage := newStage(os.Args[2], encoding == "protobuf")
	defer func() {
		if failure := recover(); failure != nil {
			fmt.Fprintf(os.Stderr, "%s\n%s (%s): %v\n", stage.report(), os.Args[1], encoding, failure)
			os.Exit(1)
		}
	}()
	scenario(stage)
}
