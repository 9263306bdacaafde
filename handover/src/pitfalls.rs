//! What has gone wrong where others hand over, and the test that would show it here.
//!
//! Names without a path are in `handover/tests/suite`, those with `explore` in this crate's exploration of both machines,
//! `sidecar` in `examples/sidecar/tests/suite`, `process` and `envoy` in `adapters/process/tests`, `upgrade` in
//! `upgrade/tests/suite`.
//!
//! | | pitfall | test |
//! | --- | --- | --- |
//! | P1 | a second queue: who waits in the first is reset when it is closed | `sidecar::moves::queued_clients_are_all_served`, `two_processes::clients_that_wait_to_be_accepted_are_served`, `agent::a_listener_that_is_another_queue_ends_the_hand_over` |
//! | P2 | a descriptor comes and is closed unused | `sidecar::refused::releases_that_are_no_good_get_nothing` |
//! | P3 | an acknowledgement is written to somebody who is dying | `agent::what_is_offered_comes_back_at_once_when_the_session_ends`, `explore::nothing_is_lost_when_one_of_two_dies` |
//! | P3b | a reset hides what was said before it | `doorbell::frames_wait_for_room_and_keep_their_order`, `explore::who_leaves_without_listening_leaves_nobody` |
//! | P4 | the own copy is closed when it is sent | `explore::without_a_copy_a_connection_dies_with_the_process_that_it_was_sent_to`, `two_processes::a_new_one_that_stands_still_is_left_behind` |
//! | P5 | there is no room for descriptors that come | `two_processes::a_new_one_without_room_for_descriptors_gets_nothing` |
//! | P6 | more descriptors than one message carries | `wire::limits_are_kept_on_both_sides`, `two_processes::connections_move_with_their_state_and_back` |
//! | P7 | a plain read throws descriptors away | `sidecar::moves::descriptors_are_back_to_where_they_were`; only `Channel` reads the socket |
//! | P8 | descriptors outlive an `exec` | `doorbell::descriptors_come_with_the_flags_they_had_and_do_not_outlive_an_exec` |
//! | P9 | flags of a shared descriptor change under the other process | the same |
//! | P10 | a poller goes on reporting a descriptor whose twin lives | `sidecar::moves::there_and_back_under_load`: who would be woken by it would read a byte that is another's |
//! | P11 | two readers or writers | `explore::without_a_token_two_processes_read_one_connection`, `sidecar::moves::bytes_under_way_in_both_directions_arrive_once_and_in_order`, `doorbell::a_token_is_taken_once` |
//! | P12 | half a request, half a message | `sidecar::moves::what_was_read_of_the_next_request_goes_along`, `sidecar::moves::an_answer_that_is_not_sent_yet_is_not_cut`, `codecs::http_rests_between_exchanges`, `codecs::framed_calls_rest_between_exchanges` |
//! | P13 | keys: in logs, or missing for who comes again | `tls::keys_that_come_over_are_nowhere_to_be_read`, `tls::a_client_of_the_old_process_resumes_at_the_new_one`, `wire::a_secret_does_not_print`, `doorbell::another_user_is_refused_with_that_reason` |
//! | P14 | versions of the wire | `wire::versions_are_agreed_upon_or_refused`, `wire::fields_of_a_later_version_are_passed_over`, `wire::a_frame_of_a_later_kind_is_passed_over`, `wire::golden_frames_of_version_1` |
//! | P15 | files of sockets: left by the dead, taken from the living | `doorbell::what_a_dead_process_left_is_replaced_and_what_lives_is_not`, `doorbell::the_socket_of_another_process_at_the_same_path_is_left_alone`, `sidecar::refused::a_path_that_a_dead_process_left_is_taken_and_a_living_one_is_not` |
//! | P16 | a drain that never ends | `agent::what_could_not_move_is_cut_when_the_process_leaves_unless_it_may_stay`, `sidecar::ends::what_nobody_calls_for_ends_at_its_time`, `upgrade::driving::a_drain_ends_at_its_hard_deadline_and_counts_the_cut` |
//! | P17 | fixed sleeps | `two_processes::the_old_one_leaves_and_nobody_notices`, `sidecar::serving::a_process_that_stops_finishes_what_is_under_way`: both end when there is nothing left |
//! | P18 | a probe hits either of two | `process::conformance::a_fleet_of_sidecars_keeps_the_contract`: who answers says which instance it is |
//! | P19 | balancers hear late | of platforms with balancers: the rules `barrier.…` of the public suite in `unattended-upgrade`; of local processes: `process` `a_closed_way_is_told_when_balancers_have_had_the_time_to_hear` |
//! | P20 | a supervisor ends both | `process::sidecar::broken_versions_are_rolled_back_and_the_old_one_serves`, `envoy::broken::a_new_one_that_is_killed_before_it_is_let_in_harms_nobody` |
//! | P21 | both accept | `two_processes::clients_that_wait_to_be_accepted_are_served`, `sidecar::moves::there_and_back_under_load` |
//! | P22 | both take room | `sidecar::refused::one_without_descriptors_gets_what_it_can_hold`, `sidecar::refused::an_old_one_that_runs_out_of_descriptors_serves_on`, `upgrade::choosing::the_first_that_can_work_is_chosen_and_the_others_say_why_not` |
//! | P23 | a second upgrade during the first, and a third after it | `two_processes::a_second_upgrade_waits_for_the_first`, `sidecar::refused::a_second_upgrade_waits_for_the_first`, `two_processes::what_the_first_could_not_give_the_third_takes`, `sidecar::ends::what_the_first_has_left_behind_ends_up_with_the_third` |
//! | P24 | two owners of one configuration | `sidecar::serving::one_that_comes_again_has_its_configuration_before_its_way_opens`, `process::conformance::a_fleet_of_sidecars_keeps_the_contract` |
//! | P25 | datagrams belong to no connection | `sidecar::moves::datagrams_go_on` |
//!
//! Beside these, clocks: `agent::a_clock_that_jumps_by_an_hour_ends_no_service`; and processes that are killed or stopped at
//! drawn moments: `sidecar::killed::rounds_one_to_five` and those after it.
