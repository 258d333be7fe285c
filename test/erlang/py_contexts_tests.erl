%% Contexts and binding.
-module(py_contexts_tests).

-include_lib("eunit/include/eunit.hrl").

contexts_test_() ->
    py_test:suite([
        {"bind/0, unbind/0, is_bound/0", fun bind/0},
        {"binding is idempotent", fun idempotent/0},
        {"every function of a bound process goes to its worker", fun all_functions/0},
        {"two bound processes do not see each other's names", fun apart/0},
        {"bind/1, unbind/1 and ctx_call/4,5,6, ctx_eval/2,3,4, ctx_exec/2,3", fun explicit/0},
        {"with_context/1", fun with_context/0},
        {"with_context/1 may be nested", fun nested/0},
        {"with_context/1 unbinds also on exceptions", fun exceptions/0},
        {"a released context raises context_not_bound", fun released/0},
        {"a context is lost with its worker, and with no other", fun lost/0},
        {"all workers bound", fun all_bound/0},
        {"the worker is back within 50 ms after its owner has died", fun owner_dies/0},
        {"also if Python runs when its owner dies", fun owner_dies_in_a_call/0},
        {"bad input", fun bad_input/0}
    ]).

bind() ->
    ?assertEqual(false, py:is_bound()),
    ?assertEqual(ok, py:bind()),
    ?assertEqual(true, py:is_bound()),
    ok = py:exec("here = 1\ndef f(): return here"),
    ?assertEqual({ok, 1}, py:eval("here")),
    ?assertEqual({ok, 1}, py:call('__main__', f, [])),
    ?assertEqual(ok, py:unbind()),
    ?assertEqual(false, py:is_bound()),
    %% Its names are gone, in whatever worker they were.
    ?assertMatch([{error, {'NameError', _}}], lists:usort(py_pool:broadcast({eval, "here"}))),
    ?assertEqual(ok, py:unbind()).

idempotent() ->
    ok = py:bind(),
    ok = py:exec("kept = 1"),
    ?assertEqual(ok, py:bind()),
    ?assertEqual({ok, 1}, py:eval("kept")),
    ?assertMatch(#{num_workers := 2, checked_out := 1, available_workers := 1}, py_pool:get_stats()),
    %% One end is enough.
    ?assertEqual(ok, py:unbind()),
    ?assertEqual(false, py:is_bound()).

all_functions() ->
    ok = py:bind(),
    ok = py:exec("def f(*args): return here\nhere = 'mine'\ndef g(): yield here\nasync def a(): return here"),
    Mine = <<"mine">>,
    M = '__main__',
    ?assertEqual({ok, Mine}, py:call(M, f, [])),
    ?assertEqual({ok, Mine}, py:call(M, f, [], #{}, infinity)),
    ?assertEqual({ok, Mine}, py:eval("here")),
    ?assertEqual({ok, Mine}, py:await(py:call_async(M, f, []))),
    ?assertEqual({ok, Mine}, py:async_await(py:async_call(M, a, []))),
    ?assertEqual({ok, [Mine, Mine]}, py:async_gather([{M, f, []}, {M, a, []}])),
    ?assertEqual({ok, [{ok, Mine}, {ok, Mine}]}, py:parallel([{M, f, []}, {M, f, []}])),
    ?assertEqual({ok, [Mine]}, py:stream(M, g, [])),
    ?assertEqual({ok, [Mine]}, py:async_stream(M, g, [])),
    ?assertEqual({ok, [Mine]}, py:stream_eval("g()")),
    {ok, Ref} = py:stream_start(M, g, []),
    receive {py_stream, Ref, {data, Pushed}} -> ?assertEqual(Mine, Pushed) end,
    receive {py_stream, Ref, done} -> ok end,
    Request = make_ref(),
    ok = py_pool:request({stream_eval, Request, self(), "g()", #{}}),
    receive {py_chunk, Request, Chunk} -> ?assertEqual(Mine, Chunk) end,
    receive {py_end, Request} -> ok end,
    {ok, Stream} = py:call(M, g, []),
    ?assertEqual({ok, Mine}, py:stream_next(Stream)),
    ?assertEqual(done, py:stream_next(Stream)),
    Test = self(),
    ok = py:register_function(tell, fun([What]) -> Test ! {told, What}, none end),
    ok = py:exec("def h(): erlang.tell(here)\nimport erlang"),
    ok = py:cast(M, h, []),
    receive {told, Told} -> ?assertEqual(Mine, Told) end,
    ok = py:unbind().

apart() ->
    Test = self(),
    Pids = [
        spawn_link(fun() ->
            ok = py:bind(),
            ok = py:exec(["name = ", integer_to_list(N)]),
            Test ! {self(), set},
            receive go -> ok end,
            Test ! {self(), py:eval("name"), py:eval("__import__('os').getpid()")}
        end)
     || N <- [1, 2]
    ],
    [receive {Pid, set} -> ok end || Pid <- Pids],
    %% Both are there at once now.
    [Pid ! go || Pid <- Pids],
    Seen = [receive {Pid, {ok, Name}, {ok, Worker}} -> {Name, Worker} end || Pid <- Pids],
    ?assertMatch([{1, Worker1}, {2, Worker2}] when Worker1 =/= Worker2, Seen).

explicit() ->
    {ok, Ctx} = py:bind(new),
    ?assertEqual(false, py:is_bound()),
    ?assertEqual(ok, py:ctx_exec(Ctx, "def add(a, b=1): return a + b")),
    ?assertEqual(ok, py:ctx_exec(Ctx, <<"x = 5">>, 5000)),
    ?assertEqual({ok, 5}, py:ctx_eval(Ctx, "x")),
    ?assertEqual({ok, 6}, py:ctx_eval(Ctx, "x + y", #{y => 1})),
    ?assertEqual({ok, 6}, py:ctx_eval(Ctx, "x + y", [{y, 1}], infinity)),
    ?assertEqual({ok, 2}, py:ctx_call(Ctx, '__main__', add, [1])),
    ?assertEqual({ok, 3}, py:ctx_call(Ctx, '__main__', add, [1], #{b => 2})),
    ?assertEqual({ok, 3}, py:ctx_call(Ctx, '__main__', add, [1], #{b => 2}, 5000)),
    ?assertMatch({error, {'ZeroDivisionError', _}}, py:ctx_eval(Ctx, "1 / 0")),
    ?assertEqual({error, timeout}, py:ctx_exec(Ctx, "while True: pass", 50)),
    ?assertEqual({error, timeout}, py:ctx_eval(Ctx, "__import__('time').sleep(60)", #{}, 50)),
    ?assertEqual({error, timeout}, py:ctx_call(Ctx, time, sleep, [60], #{}, 50)),
    ?assertEqual({ok, 5}, py:ctx_eval(Ctx, "x")),
    %% Two at once, and by another process.
    {ok, Other} = py:bind(new),
    ?assertMatch({error, {'NameError', _}}, py:ctx_eval(Other, "x")),
    Test = self(),
    spawn_link(fun() -> Test ! {other, py:ctx_eval(Ctx, "x")} end),
    receive {other, Result} -> ?assertEqual({ok, 5}, Result) end,
    ?assertEqual(ok, py:unbind(Other)),
    ?assertEqual(ok, py:unbind(Ctx)),
    ?assertEqual(ok, py:unbind(Ctx)).

with_context() ->
    ?assertEqual({ok, 3}, py:with_context(fun() -> ok = py:exec("z = 3"), py:eval("z") end)),
    ?assertEqual({ok, 4}, py:with_context(fun(Ctx) -> ok = py:exec("z = 4"), py:ctx_eval(Ctx, "z") end)),
    ?assertEqual(anything, py:with_context(fun() -> true = py:is_bound(), anything end)).

nested() ->
    py:with_context(fun() ->
        ok = py:exec("level = 1"),
        py:with_context(fun(Inner) ->
            ?assertMatch({error, {'NameError', _}}, py:eval("level")),
            ok = py:exec("level = 2"),
            ?assertEqual({ok, 2}, py:ctx_eval(Inner, "level"))
        end),
        ?assertEqual({ok, 1}, py:eval("level"))
    end),
    %% In a bound process, which stays bound.
    ok = py:bind(),
    ok = py:exec("level = 0"),
    py:with_context(fun() -> ok = py:exec("level = 1") end),
    ?assertEqual({ok, 0}, py:eval("level")),
    ok = py:unbind().

exceptions() ->
    ?assertThrow(ball, py:with_context(fun() -> throw(ball) end)),
    ?assertError(badarg, py:with_context(fun() -> error(badarg) end)),
    ?assertExit(gone, py:with_context(fun(_) -> exit(gone) end)),
    ?assertEqual(false, py:is_bound()),
    py_test:whole().

released() ->
    {ok, Ctx} = py:bind(new),
    ok = py:unbind(Ctx),
    ?assertError(context_not_bound, py:ctx_call(Ctx, math, sqrt, [16])),
    ?assertError(context_not_bound, py:ctx_call(Ctx, math, sqrt, [16], #{})),
    ?assertError(context_not_bound, py:ctx_call(Ctx, math, sqrt, [16], #{}, 100)),
    ?assertError(context_not_bound, py:ctx_eval(Ctx, "1")),
    ?assertError(context_not_bound, py:ctx_eval(Ctx, "1", #{})),
    ?assertError(context_not_bound, py:ctx_eval(Ctx, "1", #{}, 100)),
    ?assertError(context_not_bound, py:ctx_exec(Ctx, "1")),
    ?assertError(context_not_bound, py:ctx_exec(Ctx, "1", 100)),
    Left = py:with_context(fun(Used) -> Used end),
    ?assertError(context_not_bound, py:ctx_eval(Left, "1")).

lost() ->
    {ok, Ctx} = py:bind(new),
    ok = py:ctx_exec(Ctx, "x = 1"),
    py_test:kill_worker(),
    ?assertEqual({ok, 1}, py:ctx_eval(Ctx, "x")),
    ?assertMatch({error, {worker_down, _}}, py:ctx_exec(Ctx, "import os; os._exit(1)")),
    ?assertEqual({error, context_lost}, py:ctx_eval(Ctx, "x")),
    ?assertEqual({error, context_lost}, py:ctx_exec(Ctx, "x")),
    ?assertEqual({error, context_lost}, py:ctx_call(Ctx, math, sqrt, [16])),
    ?assertEqual(ok, py:unbind(Ctx)),
    ?assertError(context_not_bound, py:ctx_eval(Ctx, "x")),
    %% A bound process is told, until it binds itself anew.
    ok = py:bind(),
    py_test:kill_worker(),
    ?assertEqual({error, context_lost}, py:eval("1")),
    ?assertEqual({error, context_lost}, py:await(py:call_async(math, sqrt, [16]))),
    ?assertEqual({error, context_lost}, py:stream_eval("1")),
    ?assertEqual({ok, [{error, context_lost}]}, py:parallel([{math, sqrt, [16]}])),
    ok = py:unbind(),
    ok = py:bind(),
    ?assertEqual({ok, 1}, py:eval("1")),
    ok = py:unbind().

all_bound() ->
    {ok, First} = py:bind(new),
    ok = py:bind(),
    ?assertEqual({error, no_workers_available}, py:bind(new)),
    ?assertEqual({error, no_workers_available}, py:with_context(fun() -> never end)),
    Test = self(),
    spawn_link(fun() -> Test ! {bound, py:bind()} end),
    receive {bound, Result} -> ?assertEqual({error, no_workers_available}, Result) end,
    %% What is not bound waits for a worker.
    spawn_link(fun() ->
        Test ! {early, py:eval("1", #{}, 50)},
        Test ! {late, py:eval("1")}
    end),
    receive {early, Early} -> ?assertEqual({error, timeout}, Early) end,
    py_test:eventually(fun() -> maps:get(pending_requests, py_pool:get_stats()) =:= 1 end),
    %% The bound process's own calls do not, however many of them.
    Calls = [{math, sqrt, [N * N]} || N <- lists:seq(1, 10)],
    ?assertEqual({ok, [{ok, float(N)} || N <- lists:seq(1, 10)]}, py:parallel(Calls)),
    ?assertEqual({ok, [float(N) || N <- lists:seq(1, 10)]}, py:async_gather(Calls)),
    ok = py:unbind(),
    receive {late, Late} -> ?assertEqual({ok, 1}, Late) end,
    ok = py:unbind(First).

owner_dies() ->
    {ok, Other} = py:bind(new),
    Test = self(),
    Times = [
        begin
            {Owner, Monitor} = spawn_monitor(fun() ->
                ok = py:bind(),
                ok = py:exec("left_behind = 1"),
                Test ! bound,
                receive never -> ok end
            end),
            receive bound -> ok end,
            exit(Owner, kill),
            receive {'DOWN', Monitor, process, Owner, killed} -> ok end,
            {Time, {ok, Ctx}} = timer:tc(fun bind_again/0),
            ?assertMatch({error, {'NameError', _}}, py:ctx_eval(Ctx, "left_behind")),
            ok = py:unbind(Ctx),
            Time
        end
     || _ <- lists:seq(1, 11)
    ],
    Median = py_test:median(Times),
    ?assert(Median < 50_000, Median),
    ok = py:unbind(Other).

%% The other worker is bound, so this one must be back.
bind_again() ->
    case py:bind(new) of
        {ok, Ctx} ->
            {ok, Ctx};
        {error, no_workers_available} ->
            timer:sleep(1),
            bind_again()
    end.

owner_dies_in_a_call() ->
    Test = self(),
    {Owner, Monitor} = spawn_monitor(fun() ->
        ok = py:bind(),
        py:eval("[erlang.send(test, 1), exec('while True: pass')]", #{test => Test}, infinity)
    end),
    receive 1 -> ok end,
    exit(Owner, kill),
    receive {'DOWN', Monitor, process, Owner, killed} -> ok end,
    py_test:whole().

bad_input() ->
    [
        ?assertEqual({Index, {error, invalid_args}}, {Index, Call()})
     || {Index, Call} <- lists:enumerate([
            fun() -> py:bind(other) end,
            fun() -> py:unbind(no_context) end,
            fun() -> py:with_context(no_fun) end,
            fun() -> py:with_context(fun(_, _) -> 1 end) end,
            fun() -> py:ctx_call(no_context, math, sqrt, [16]) end,
            fun() -> py:ctx_call(no_context, math, sqrt, [16], #{}) end,
            fun() -> py:ctx_call(no_context, math, sqrt, [16], #{}, 1) end,
            fun() -> py:ctx_eval(no_context, "1") end,
            fun() -> py:ctx_eval(no_context, "1", #{}) end,
            fun() -> py:ctx_eval(no_context, "1", #{}, 1) end,
            fun() -> py:ctx_exec(no_context, "1") end,
            fun() -> py:ctx_exec(no_context, "1", 1) end
        ])
    ],
    {ok, Ctx} = py:bind(new),
    [
        ?assertEqual({Index, {error, invalid_args}}, {Index, Call()})
     || {Index, Call} <- lists:enumerate([
            fun() -> py:ctx_call(Ctx, 1, sqrt, [16]) end,
            fun() -> py:ctx_call(Ctx, math, sqrt, 16) end,
            fun() -> py:ctx_call(Ctx, math, sqrt, [16], 1) end,
            fun() -> py:ctx_call(Ctx, math, sqrt, [16], #{}, 0) end,
            fun() -> py:ctx_eval(Ctx, x) end,
            fun() -> py:ctx_eval(Ctx, "1", 1) end,
            fun() -> py:ctx_eval(Ctx, "1", #{}, 0) end,
            fun() -> py:ctx_exec(Ctx, x) end,
            fun() -> py:ctx_exec(Ctx, "1", 0) end
        ])
    ],
    ?assertEqual({ok, 1}, py:ctx_eval(Ctx, "1", #{}, 1 bsl 100)),
    ok = py:unbind(Ctx).
