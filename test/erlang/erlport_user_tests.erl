%% Code as it is written for ErlPort, with one rename: the macro.
-module(erlport_user_tests).

-include_lib("eunit/include/eunit.hrl").

-define(python, 'Elixir.ErlangPython.ErlPort').

-export([pair/2]).

start() ->
    {ok, P} = ?python:start([{python_path, os:getenv("ERLPORT_USER")}, {python, os:getenv("ERLPORT_USER_PYTHON")}]),
    P.

with_instance(Fun) ->
    P = start(),
    try Fun(P) after ok = ?python:stop(P) end.

instances_test() ->
    P1 = start(),
    P2 = start(),
    ?assertNotEqual(?python:call(P1, os, getpid, []), ?python:call(P2, os, getpid, [])),
    ?assertEqual(ok, ?python:stop(P1)),
    ?assertEqual(ok, ?python:stop(P2)).

call_test() ->
    with_instance(fun(P) ->
        ?assertEqual(4, ?python:call(P, operator, add, [2, 2])),
        ?assertEqual({"name", ".ext"}, ?python:call(P, 'os.path', splitext, [<<"name.ext">>], [])
            =:= {<<"name">>, <<".ext">>} andalso {"name", ".ext"}),
        ?assertMatch("3." ++ _, ?python:call(P, sys, 'version.__str__', [])),
        ?assertEqual("hello Joe", ?python:call(P, erlport_user, greeting, ["Joe"], [{timeout, 5000}])),
        ?assertEqual(undefined, ?python:call(P, builtins, print, [<<"Hello, World!">>]))
    end).

error_test() ->
    with_instance(fun(P) ->
        ?assertError({python, 'builtins.ModuleNotFoundError', "No module named 'unknown'", _},
            ?python:call(P, unknown, unknown, [])),
        ?assertError(timeout, ?python:call(P, time, sleep, [60], [{timeout, 50}])),
        {File, Line, Function, _Code} = try ?python:call(P, json, loads, [<<"{">>])
            catch error:{python, 'json.decoder.JSONDecodeError', _, [Frame | _]} -> Frame end,
        ?assertMatch({true, true, <<"raw_decode">>}, {is_binary(File), is_integer(Line), Function})
    end).

call_from_python_test() ->
    with_instance(fun(P) ->
        [Pid1, Pid2] = ?python:call(P, erlport_user, pids, []),
        ?assertNotEqual(Pid1, Pid2),
        ?assertNot(is_process_alive(Pid1)),
        with_instance(fun(P2) ->
            Pid = ?python:call(P2, os, getpid, []),
            ?assertEqual(Pid, ?python:call(P, 'erlport.erlang', call, [?python, call, [P2, os, getpid, []]]))
        end)
    end).

messages_test() ->
    with_instance(fun(P) ->
        ?assertEqual(ok, ?python:call(P, erlport_user, forward, [self()])),
        ?assertEqual(ok, ?python:cast(P, test_message)),
        ?assertEqual(test_message, receive M1 -> M1 end),
        P ! {test, "message", 2},
        ?assertEqual({test, "message", 2}, receive M2 -> M2 end),
        ?assertEqual(undefined, ?python:call(P, 'erlport.erlang', set_default_message_handler, [])),
        P ! ignored,
        %% Messages that Python has sent are there when the call is over.
        ?assertEqual(undefined, ?python:call(P, 'erlport.erlang', cast, [self(), test_message])),
        ?assertEqual(test_message, receive M3 -> M3 after 0 -> none end),
        register(erlport_user_process, self()),
        ?assertEqual(undefined, ?python:call(P, 'erlport.erlang', cast, [erlport_user_process, test_message2])),
        unregister(erlport_user_process),
        ?assertEqual(test_message2, receive M4 -> M4 after 0 -> none end)
    end).

types_test() ->
    with_instance(fun(P) ->
        ?assertEqual(ok, ?python:call(P, erlport_user, dates, [])),
        ?assertEqual({days, 0}, ?python:call(P, datetime, timedelta, [])),
        ?assertEqual({days, 21}, ?python:call(P, operator, sub, [{date, {2013, 1, 5}}, {date, {2012, 12, 15}}])),
        ?assertEqual({date, {2012, 12, 31}}, ?python:call(P, operator, add, [{date, {2013, 1, 1}}, {days, -1}]))
    end).

named_test() ->
    {ok, P} = ?python:start_link(erlport_user_named, [{call_timeout, 5000}, {compressed, 6}, {packet, 4}, nouse_stdio]),
    ?assertEqual(P, whereis(erlport_user_named)),
    ?assertEqual(3, ?python:call(erlport_user_named, builtins, len, ["abc"])),
    unlink(P),
    ?assertEqual(ok, ?python:stop(erlport_user_named)).

order_test() ->
    with_instance(fun(P) ->
        undefined = ?python:call(P, erlport_user, collect, []),
        Numbers = lists:seq(1, 500),
        [case N rem 2 of 0 -> ok = ?python:cast(P, N); 1 -> P ! N end || N <- Numbers],
        ?assertEqual(Numbers, ?python:call(P, erlport_user, collected, []))
    end).

from_a_thread_test() ->
    with_instance(fun(P) ->
        undefined = ?python:call(P, erlport_user, count_from_a_thread, [self(), 200]),
        ?assertEqual(lists:seq(0, 199), [receive N -> N end || _ <- lists:seq(1, 200)])
    end).

%% The handler's function sends to the same instance and waits for what comes of it.
nested_test() ->
    with_instance(fun(P) ->
        Self = self(),
        undefined = ?python:call(P, erlport_user, handle_by_calling, [?MODULE, pair, {Self, P}]),
        P ! {outer, make_ref()},
        ?assertEqual(inner, receive {inner, Inner} -> Inner end),
        ?assertEqual(outer, receive {outer, Outer} -> Outer end)
    end).

pair({outer, _}, {Test, P}) ->
    P ! {inner, self()},
    receive inner_is_done -> Test ! {outer, outer} end;
pair({inner, Outer}, {Test, _P}) ->
    Test ! {inner, inner},
    Outer ! inner_is_done.
