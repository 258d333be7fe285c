-module(py_semaphore_tests).

-include_lib("eunit/include/eunit.hrl").

semaphore_test_() ->
    py_test:suite([
        {"counts up to its limit", fun counts/0},
        {"set_max_concurrent/1", fun set_max/0},
        {"waits", fun waits/0},
        {"the end of a process releases what it holds", fun owner_dies/0},
        {"nested calls that all acquire, deeper than the limit", fun nested/0},
        {"bad input", fun bad_input/0}
    ]).

counts() ->
    Max = 2 * erlang:system_info(schedulers_online) + 1,
    ?assertEqual(Max, py_semaphore:max_concurrent()),
    ?assertEqual(0, py_semaphore:current()),
    [?assertEqual(ok, py_semaphore:acquire(0)) || _ <- lists:seq(1, Max)],
    ?assertEqual(Max, py_semaphore:current()),
    ?assertEqual({error, max_concurrent}, py_semaphore:acquire(0)),
    ?assertEqual({error, max_concurrent}, py_semaphore:acquire(1)),
    [?assertEqual(ok, py_semaphore:release()) || _ <- lists:seq(1, Max)],
    ?assertEqual(0, py_semaphore:current()),
    %% There is nothing more to give back.
    ?assertEqual(ok, py_semaphore:release()),
    ?assertEqual(0, py_semaphore:current()).

with_limit(Limit, Test) ->
    Before = py_semaphore:max_concurrent(),
    ok = py_semaphore:set_max_concurrent(Limit),
    try
        Test()
    after
        py_semaphore:set_max_concurrent(Before)
    end.

set_max() ->
    with_limit(1, fun() ->
        ?assertEqual(1, py_semaphore:max_concurrent()),
        ok = py_semaphore:acquire(0),
        ?assertEqual({error, max_concurrent}, py_semaphore:acquire(0)),
        ok = py_semaphore:set_max_concurrent(2),
        ?assertEqual(ok, py_semaphore:acquire(0)),
        %% What is taken beyond a smaller limit stays taken.
        ok = py_semaphore:set_max_concurrent(1),
        ?assertEqual(2, py_semaphore:current()),
        ok = py_semaphore:release(),
        ?assertEqual({error, max_concurrent}, py_semaphore:acquire(0)),
        ok = py_semaphore:release()
    end).

holder() ->
    Test = self(),
    spawn(fun() ->
        ok = py_semaphore:acquire(infinity),
        Test ! {self(), acquired},
        receive release -> ok = py_semaphore:release() end,
        Test ! {self(), released}
    end).

waits() ->
    with_limit(1, fun() ->
        ok = py_semaphore:acquire(5000),
        Next = holder(),
        ?assertEqual({error, max_concurrent}, py_semaphore:acquire(10)),
        ok = py_semaphore:release(),
        receive {Next, acquired} -> ok end,
        %% A timeout may be as large as you like.
        Test = self(),
        Third = spawn_link(fun() -> Test ! {third, py_semaphore:acquire(1 bsl 100)} end),
        py_test:eventually(fun() -> process_info(Third, status) =:= {status, waiting} end),
        Next ! release,
        receive {Next, released} -> ok end,
        receive {third, Result} -> ?assertEqual(ok, Result) end,
        py_test:eventually(fun() -> py_semaphore:current() =:= 0 end)
    end).

owner_dies() ->
    with_limit(1, fun() ->
        First = holder(),
        receive {First, acquired} -> ok end,
        Second = holder(),
        Third = holder(),
        %% One that dies while it waits does not count.
        exit(Second, kill),
        exit(First, kill),
        receive
            {Third, acquired} -> ok;
            {Second, acquired} -> receive {Third, acquired} -> ok end
        end,
        Third ! release,
        receive {Third, released} -> ok end,
        ?assertEqual(0, py_semaphore:current())
    end).

nested() ->
    ok = py:register_function(nest, fun([N]) -> nest(N) end),
    Depth = py_semaphore:max_concurrent() + 3,
    ?assertEqual(Depth, nest(Depth)),
    %% So do tasks that a callback waits for, and what it calls asynchronously.
    ok = py:register_function(nest, fun([N]) ->
        {ok, Value} = py:await(py:call_async(erlang, nest_inner, [N])),
        Value
    end),
    ok = py:register_function(nest_inner, fun([N]) -> nest(N) end),
    ?assertEqual(Depth, nest(Depth)),
    ?assertEqual(0, py_semaphore:current()).

nest(0) ->
    0;
nest(N) ->
    ok = py_semaphore:acquire(20_000),
    {ok, Value} = py:eval("erlang.nest(n)", #{n => N - 1}),
    ok = py_semaphore:release(),
    Value + 1.

bad_input() ->
    [
        ?assertEqual({Index, {error, invalid_args}}, {Index, Call()})
     || {Index, Call} <- lists:enumerate([
            fun() -> py_semaphore:acquire(-1) end,
            fun() -> py_semaphore:acquire(1.5) end,
            fun() -> py_semaphore:acquire(soon) end,
            fun() -> py_semaphore:set_max_concurrent(0) end,
            fun() -> py_semaphore:set_max_concurrent(-1) end,
            fun() -> py_semaphore:set_max_concurrent(many) end
        ])
    ],
    ?assertEqual(0, py_semaphore:current()).
