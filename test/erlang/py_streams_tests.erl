%% Streams and asyncio.
-module(py_streams_tests).

-include_lib("eunit/include/eunit.hrl").

streams_test_() ->
    py_test:suite([
        {"stream/3,4", fun stream/0},
        {"stream_eval/1,2", fun stream_eval/0},
        {"only iterators stream", fun no_iterators/0},
        {"stream_start/3,4", fun stream_start/0},
        {"stream_cancel/1", fun stream_cancel/0},
        {"a stream ends with the process that started it", fun stream_owner/0},
        {"stream_next/1,2 and stream_close/1", fun handles/0},
        {"a generator of an asynchronous call", fun handle_of_async_call/0},
        {"a generator whose worker dies", fun dead_worker/0},
        {"async_call/3,4 and async_await/1,2", fun async_call/0},
        {"a thousand coroutines at once", fun many_coroutines/0},
        {"async_gather/1", fun async_gather/0},
        {"async_gather/1 stops the others at the first failure", fun async_gather_fails/0},
        {"async_stream/3,4", fun async_stream/0},
        {"bad input", fun bad_input/0}
    ]).

stream() ->
    ?assertEqual({ok, [<<"x">>, <<"x">>]}, py:stream(itertools, repeat, [x, 2])),
    ?assertEqual({ok, [1, none]}, py:stream("builtins", <<"iter">>, [[1, none]])),
    ?assertEqual({ok, [5, 6, 8]}, py:stream(itertools, accumulate, [[1, 2]], #{initial => 5})),
    ?assertEqual({ok, [5, 6, 8]}, py:stream(itertools, accumulate, [[1, 2]], [{initial, 5}])),
    {ok, Many} = py:stream(builtins, iter, [lists:seq(1, 10000)]),
    ?assertEqual(lists:seq(1, 10000), Many),
    ?assertMatch({error, {'TypeError', _}}, py:stream(itertools, repeat, [])),
    ?assertMatch({error, {'ModuleNotFoundError', _}}, py:stream(no_such_module, f, [])).

stream_eval() ->
    ?assertEqual({ok, [0, 1, 4]}, py:stream_eval("(x * x for x in range(3))")),
    ?assertEqual({ok, [0, 1]}, py:stream_eval(<<"(x for x in range(n))">>, #{n => 2})),
    ?assertEqual({ok, [0]}, py:stream_eval("(x for x in range(n))", [{n, 1}])),
    ?assertEqual({ok, []}, py:stream_eval("iter([])")),
    %% The whole or an error.
    ?assertEqual(
        {error, {'ZeroDivisionError', "division by zero"}},
        py:stream_eval("(1 / n for n in (1, 0))")
    ),
    ?assertMatch({error, {'NameError', _}}, py:stream_eval("nope")).

no_iterators() ->
    ?assertEqual({ok, [4.0]}, py:stream(math, sqrt, [16])),
    ?assertEqual({ok, [[1, 2]]}, py:stream_eval("[1, 2]")),
    ?assertEqual({ok, [<<"ab">>]}, py:stream_eval("'ab'")),
    ?assertEqual({ok, [none]}, py:stream_eval("None")),
    {ok, Ref} = py:stream_start(math, sqrt, [16]),
    ?assertEqual([{data, 4.0}, done], events(Ref)).

stream_start() ->
    {ok, Ref} = py:stream_start(builtins, iter, [[1, none]]),
    ?assert(is_reference(Ref)),
    ?assertEqual([{data, 1}, {data, none}, done], events(Ref)),
    {ok, Named} = py:stream_start(itertools, accumulate, [[1]], #{initial => 5}),
    ?assertEqual([{data, 5}, {data, 6}, done], events(Named)),
    {ok, Failed} = py:stream_start(itertools, repeat, []),
    ?assertMatch([{error, {'TypeError', _}}], events(Failed)).

events(Ref) ->
    receive
        {py_stream, Ref, {data, _} = Event} -> [Event | events(Ref)];
        {py_stream, Ref, Last} -> [Last]
    end.

stream_cancel() ->
    {ok, Ref} = py:stream_start(itertools, count, []),
    receive {py_stream, Ref, {data, 0}} -> ok end,
    ?assertEqual(ok, py:stream_cancel(Ref)),
    %% What came before is here, and nothing comes after.
    Before = flush(Ref),
    ?assertEqual(lists:seq(1, length(Before)), [N || {data, N} <- Before]),
    py_test:whole(),
    ?assertEqual([], flush(Ref)),
    ?assertEqual(ok, py:stream_cancel(Ref)),
    ?assertEqual(ok, py:stream_cancel(make_ref())).

flush(Ref) ->
    receive
        {py_stream, Ref, Event} -> [Event | flush(Ref)]
    after 0 -> []
    end.

%% `numbers()` is a generator that tells the calling process when it is closed. By a cast, for its request may be over.
generator() ->
    Test = self(),
    ok = py:register_function(closed, fun([]) -> Test ! closed, none end),
    ok = py_test_module(
        "def numbers():\n"
        "    try:\n"
        "        yield from range(10 ** 9)\n"
        "    finally:\n"
        "        erlang.cast('closed')\n"
    ).

%% In every worker.
py_test_module(Code) ->
    Results = py_pool:broadcast({exec, ["import erlang\n", Code]}),
    ?assertEqual([{ok, none}], lists:usort(Results)),
    ok.

stream_owner() ->
    generator(),
    Test = self(),
    Owner = spawn(fun() ->
        {ok, Ref} = py:stream_start('__main__', numbers, []),
        receive {py_stream, Ref, {data, 0}} -> Test ! started end,
        receive stop -> ok end
    end),
    receive started -> ok end,
    exit(Owner, kill),
    receive closed -> ok end.

handles() ->
    generator(),
    {ok, Numbers} = py:call('__main__', numbers, []),
    ?assertEqual({ok, 0}, py:stream_next(Numbers)),
    ?assertEqual({ok, 1}, py:stream_next(Numbers, 5000)),
    ?assertEqual({ok, 2}, py:stream_next(Numbers, infinity)),
    ?assertEqual({ok, 3}, py:stream_next(Numbers, 1 bsl 100)),
    ?assertEqual(ok, py:stream_close(Numbers)),
    receive closed -> ok end,
    ?assertEqual(ok, py:stream_close(Numbers)),
    ?assertEqual(done, py:stream_next(Numbers)),

    {ok, Short} = py:eval("(n for n in range(1))"),
    ?assertEqual({ok, 0}, py:stream_next(Short)),
    ?assertEqual(done, py:stream_next(Short)),
    ?assertEqual(done, py:stream_next(Short)),

    {ok, Broken} = py:eval("(1 // n for n in (0,))"),
    ?assertMatch({error, {'ZeroDivisionError', _}}, py:stream_next(Broken)),

    {ok, Slow} = py:eval("(__import__('time').sleep(60) for _ in range(1))"),
    ?assertEqual({error, timeout}, py:stream_next(Slow, 20)),
    ?assertEqual({error, cancelled}, py:stream_next(Slow)),

    %% It closes with the process that made the call, which is not its end.
    Test = self(),
    {_, Monitor} = spawn_monitor(fun() ->
        {ok, Stream} = py:call('__main__', numbers, []),
        {ok, 0} = py:stream_next(Stream),
        Test ! {stream, Stream}
    end),
    receive {'DOWN', Monitor, process, _, normal} -> ok end,
    receive closed -> ok end,
    receive {stream, Left} -> ?assertEqual({error, cancelled}, py:stream_next(Left)) end.

handle_of_async_call() ->
    {ok, Stream} = py:await(py:call_async(builtins, iter, [[1]])),
    ?assertEqual({ok, 1}, py:stream_next(Stream)),
    ?assertEqual(done, py:stream_next(Stream)).

dead_worker() ->
    ok = py:bind(),
    {ok, Stream} = py:eval("(n for n in range(9))"),
    ?assertEqual({ok, 0}, py:stream_next(Stream)),
    py_test:kill_worker(),
    ok = py:unbind(),
    ?assertMatch({error, {worker_down, _}}, py:stream_next(Stream)),
    ?assertEqual(ok, py:stream_close(Stream)).

async_call() ->
    ok = py_test_module(
        "import asyncio\n"
        "async def double(x, times=1):\n"
        "    await asyncio.sleep(0)\n"
        "    return x * 2 * times\n"
    ),
    Ref = py:async_call('__main__', double, [21]),
    ?assert(is_reference(Ref)),
    ?assertEqual({ok, 42}, py:async_await(Ref)),
    Named = py:async_call('__main__', double, [21], #{times => 2}),
    ?assertEqual({ok, 84}, py:async_await(Named, 5000)),
    ?assertEqual({error, invalid_args}, py:async_await(Named)),
    ?assertEqual({ok, 4.0}, py:async_await(py:async_call(math, sqrt, [16]), infinity)),
    ?assertMatch({error, {'TypeError', _}}, py:async_await(py:async_call('__main__', double, []))),
    %% Too early, and then again.
    py_test:gate(),
    Gated = py:async_call(erlang, gate, []),
    Open = py_test:open_gate(),
    ?assertEqual({error, timeout}, py:async_await(Gated, 20)),
    Open(),
    ?assertEqual({ok, <<"open">>}, py:async_await(Gated, 1 bsl 100)),
    %% A plain call runs a coroutine function too.
    ?assertEqual({ok, 2}, py:call('__main__', double, [1])).

many_coroutines() ->
    ok = py_test_module("import asyncio"),
    ok = py:bind(),
    {Time, Results} = timer:tc(fun() ->
        Refs = [py:async_call(asyncio, sleep, [0.2, N]) || N <- lists:seq(1, 1000)],
        [py:async_await(Ref) || Ref <- Refs]
    end),
    ok = py:unbind(),
    ?assertEqual([{ok, N} || N <- lists:seq(1, 1000)], Results),
    %% One after the other they would take 200 seconds.
    ?assert(Time < 50_000_000).

async_gather() ->
    ok = py_test_module("import asyncio"),
    ?assertEqual({ok, []}, py:async_gather([])),
    ?assertEqual(
        {ok, [<<"late">>, 4.0, <<"early">>, [2, 1]]},
        py:async_gather([
            {asyncio, sleep, [0.1, late]},
            {math, sqrt, [16]},
            {"asyncio", <<"sleep">>, [0, early]},
            {builtins, sorted, [[1, 2]], #{reverse => true}}
        ])
    ).

async_gather_fails() ->
    ok = py_test_module("import asyncio"),
    ?assertMatch(
        {error, {'ValueError', _}},
        py:async_gather([{asyncio, sleep, [60]}, {math, sqrt, [-1]}, {time, sleep, [60]}])
    ),
    ?assertEqual({error, invalid_args}, py:async_gather([{asyncio, sleep, [60]}, {1, f, []}])).

async_stream() ->
    ok = py_test_module(
        "import asyncio\n"
        "async def ticks(n, step=1):\n"
        "    for tick in range(0, n, step):\n"
        "        await asyncio.sleep(0)\n"
        "        yield tick\n"
    ),
    ?assertEqual({ok, [0, 1, 2]}, py:async_stream('__main__', ticks, [3])),
    ?assertEqual({ok, [0, 2]}, py:async_stream('__main__', ticks, [3], #{step => 2})),
    ?assertEqual({ok, [0, 1]}, py:stream('__main__', ticks, [2])),
    ?assertEqual({ok, [7]}, py:async_stream(builtins, iter, [[7]])),
    ?assertMatch({error, {'TypeError', _}}, py:async_stream('__main__', ticks, [])).

bad_input() ->
    [
        ?assertEqual({Index, {error, invalid_args}}, {Index, Call()})
     || {Index, Call} <- lists:enumerate([
            fun() -> py:stream(1, f, []) end,
            fun() -> py:stream(math, sqrt, 16) end,
            fun() -> py:stream(math, sqrt, [16], 1) end,
            fun() -> py:stream_eval(x) end,
            fun() -> py:stream_eval("x", 1) end,
            fun() -> py:stream_start(1, f, []) end,
            fun() -> py:stream_start(math, sqrt, 16) end,
            fun() -> py:stream_start(math, sqrt, [16], 1) end,
            fun() -> py:stream_cancel(no_reference) end,
            fun() -> py:stream_next(no_stream) end,
            fun() -> py:stream_next({py_stream, default, none, #{}, none}) end,
            fun() -> py:stream_close(no_stream) end,
            fun() -> py:stream_close({py_stream, default, none, #{}, none}) end,
            fun() -> py:async_await(py:async_call(1, f, [])) end,
            fun() -> py:async_await(py:async_call(math, sqrt, 16)) end,
            fun() -> py:async_await(no_reference) end,
            fun() -> py:async_await(make_ref()) end,
            fun() -> py:async_await(make_ref(), 0) end,
            fun() -> py:async_gather(math) end,
            fun() -> py:async_gather([math]) end,
            fun() -> py:async_gather([{math, sqrt}]) end,
            fun() -> py:async_gather([{math, sqrt, 16}]) end,
            fun() -> py:async_gather([{math, sqrt, [16]} | tail]) end,
            fun() -> py:async_gather([{math, sqrt, [16], 1}]) end,
            fun() -> py:async_stream(1, f, []) end,
            fun() -> py:async_stream(math, sqrt, 16) end
        ])
    ],
    {ok, Stream} = py:eval("iter([1])"),
    ?assertEqual({error, invalid_args}, py:stream_next(Stream, 0)),
    ?assertEqual({error, invalid_args}, py:stream_next(Stream, soon)),
    ?assertEqual(ok, py:stream_close(Stream)).
