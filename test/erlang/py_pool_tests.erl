-module(py_pool_tests).

-include_lib("eunit/include/eunit.hrl").

pool_test_() ->
    py_test:suite([
        {"get_stats/0", fun get_stats/0},
        {"broadcast/1", fun broadcast/0},
        {"broadcast/1 and a worker that dies", fun broadcast_to_the_dead/0},
        {"request/1", fun request/0},
        {"a request for another process ends with that one", fun other_process/0},
        {"bad input", fun bad_input/0}
    ]).

get_stats() ->
    {ok, 1} = py:eval("1"),
    py_test:whole(),
    ?assertEqual(
        #{num_workers => 2, available_workers => 2, checked_out => 0, pending_requests => 0},
        py_pool:get_stats()
    ),
    py_test:gate(),
    Refs = [py:call_async(erlang, gate, []) || _ <- [1, 2]],
    Opens = [py_test:open_gate(), py_test:open_gate()],
    ?assertMatch(#{num_workers := 2, available_workers := 0, checked_out := 2}, py_pool:get_stats()),
    [Open() || Open <- Opens],
    [?assertEqual({ok, <<"open">>}, py:await(Ref)) || Ref <- Refs].

broadcast() ->
    Both = fun(Result) -> [Result, Result] end,
    ?assertEqual(Both({ok, 4.0}), py_pool:broadcast({call, math, "sqrt", [16]})),
    ?assertEqual(Both({ok, [2, 1]}),
        py_pool:broadcast({call, <<"builtins">>, sorted, [[1, 2]], #{reverse => true}})),
    ?assertEqual(Both({ok, none}), py_pool:broadcast({exec, "import json\nnumber = 20"})),
    ?assertEqual(Both({ok, 20}), py_pool:broadcast({eval, <<"number">>})),
    ?assertEqual(Both({ok, 21}), py_pool:broadcast({eval, "number + n", [{n, 1}]})),
    ?assertEqual(Both({ok, none}), py_pool:broadcast({exec, "number = n", #{n => 5}})),
    ?assertMatch([{error, {'ZeroDivisionError', _}}, {error, _}], py_pool:broadcast({eval, "1 / 0"})),
    {ok, Pids} = {ok, [Pid || {ok, Pid} <- py_pool:broadcast({call, os, getpid, []})]},
    ?assertEqual(2, length(lists:usort(Pids))).

broadcast_to_the_dead() ->
    ?assertMatch([{error, {worker_down, _}}, {error, {worker_down, _}}], py_pool:broadcast({call, os, '_exit', [1]})),
    py_test:whole(),
    ?assertEqual([{ok, 1}, {ok, 1}], py_pool:broadcast({eval, "1"})).

request() ->
    [
        ?assertEqual({Index, Expected}, {Index, answers(Request)})
     || {Index, {Request, Expected}} <- lists:enumerate([
            {{stream_eval, "(n for n in range(m))", #{m => 2}}, [0, 1, 'end']},
            {{stream_eval, <<"iter([None])">>}, [none, 'end']},
            {{stream_eval, "[1, 2]"}, [[1, 2], 'end']},
            {{stream, itertools, repeat, [x, 2]}, [<<"x">>, <<"x">>, 'end']},
            {{stream, itertools, accumulate, [[1]], #{initial => 5}}, [5, 6, 'end']},
            {{stream, math, sqrt, [16]}, [4.0, 'end']},
            {{stream, operator, truediv, [1, 0]},
                [{error, {'ZeroDivisionError', "division by zero"}}]},
            {{stream_eval, "(1 / n for n in (1, 0))"},
                [1.0, {error, {'ZeroDivisionError', "division by zero"}}]}
        ])
    ].

answers(Request) ->
    Ref = make_ref(),
    [Kind | Rest] = tuple_to_list(Request),
    ok = py_pool:request(list_to_tuple([Kind, Ref, self() | Rest])),
    collect(Ref).

collect(Ref) ->
    receive
        {py_chunk, Ref, Value} -> [Value | collect(Ref)];
        {py_end, Ref} -> ['end'];
        {py_error, Ref, Reason} -> [{error, Reason}]
    end.

other_process() ->
    Test = self(),
    Reader = spawn(fun() ->
        receive {py_chunk, _Ref, 0} -> Test ! read end,
        receive stop -> ok end
    end),
    ok = py_pool:request({stream_eval, make_ref(), Reader, "__import__('itertools').count()", #{}}),
    receive read -> ok end,
    exit(Reader, kill),
    py_test:whole(),
    %% One that is dead already, and one that is cancelled.
    ok = py_pool:request({stream_eval, make_ref(), Reader, "__import__('itertools').count()", #{}}),
    py_test:whole(),
    Ref = make_ref(),
    ok = py_pool:request({stream, Ref, self(), itertools, count, []}),
    receive {py_chunk, Ref, 0} -> ok end,
    ok = py:stream_cancel(Ref),
    flush(Ref).

flush(Ref) ->
    receive
        {py_chunk, Ref, _} -> flush(Ref)
    after 0 -> ok
    end.

bad_input() ->
    Ref = make_ref(),
    [
        ?assertEqual({Index, {error, invalid_args}}, {Index, Call()})
     || {Index, Call} <- lists:enumerate([
            fun() -> py_pool:request(no_request) end,
            fun() -> py_pool:request({call, Ref, self(), "1"}) end,
            fun() -> py_pool:request({stream_eval, no_reference, self(), "1", #{}}) end,
            fun() -> py_pool:request({stream_eval, Ref, no_pid, "1", #{}}) end,
            fun() -> py_pool:request({stream_eval, Ref, self(), x, #{}}) end,
            fun() -> py_pool:request({stream_eval, Ref, self(), "1", 1}) end,
            fun() -> py_pool:request({stream, Ref, self(), 1, f, []}) end,
            fun() -> py_pool:request({stream, Ref, self(), math, sqrt, 16}) end,
            fun() -> py_pool:request({stream, Ref, self(), math, sqrt, [16], 1}) end,
            fun() -> py_pool:broadcast(no_request) end,
            fun() -> py_pool:broadcast({call, math, sqrt}) end,
            fun() -> py_pool:broadcast({call, math, sqrt, 16}) end,
            fun() -> py_pool:broadcast({call, 1, f, []}) end,
            fun() -> py_pool:broadcast({eval, x}) end,
            fun() -> py_pool:broadcast({eval, "1", 1}) end,
            fun() -> py_pool:broadcast({exec, "1", [a]}) end
        ])
    ].
