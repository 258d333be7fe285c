%% The application environment.
-module(py_settings_tests).

-include_lib("eunit/include/eunit.hrl").

-export([log/2]).

settings_test_() ->
    [
        {Title, {timeout, 120, Test}}
     || {Title, Test} <- [
            {"an application that is not running", fun not_running/0},
            {"many first calls at once", fun first_calls/0},
            {"strings as Erlang writes them", fun strings/0},
            {"num_workers", fun num_workers/0},
            {"num_async_workers and num_subinterp_workers", fun other_workers/0},
            {"max_concurrent", fun max_concurrent/0},
            {"max_concurrent and nested calls", fun nested/0},
            {"no Python that starts", fun no_python/0},
            {"a number of workers that is none", fun bad_number/0},
            {"a value that is larger than the pool's limit", fun too_large/0},
            {"a stopped application", fun stopped/0}
        ]
    ].

workers(Settings) ->
    py_test:with_settings(Settings, fun() ->
        {ok, 1} = py:eval("1"),
        #{num_workers := N} = py_pool:get_stats(),
        ?assertEqual(N, py:num_executors()),
        ?assertEqual(N, length(py_pool:broadcast({eval, "1"}))),
        N
    end).

%% With the filters of the only handler that there is until something starts Elixir's logger.
not_running() ->
    {ok, #{filters := Filters, filter_default := Default}} = logger:get_handler_config(default),
    Config = #{config => self(), filters => Filters, filter_default => Default},
    ok = logger:add_handler(?MODULE, ?MODULE, Config),
    ?assertEqual({error, no_workers_available}, py:eval("1")),
    ok = logger:remove_handler(?MODULE),
    receive
        {logged, Text} ->
            Told = "no_workers_available: .*application:ensure_all_started\\(erlang_python\\)",
            ?assertMatch({match, _}, re:run(Text, Told))
    after 0 -> ?assert(false)
    end,
    Raised = [
        try Call() of
            Result -> Result
        catch
            error:#{'__struct__' := 'Elixir.ErlangPython.Error', kind := Kind} -> Kind
        end
     || Call <- [
            fun() -> py:await(make_ref()) end,
            fun() -> py:stream_cancel(make_ref()) end,
            fun() -> py:get_traces() end,
            fun() -> py_semaphore:acquire(0) end
        ]
    ],
    ?assertEqual([no_pool, no_pool, no_pool, no_pool], Raised).

log(#{msg := {string, Text}}, #{config := Test}) -> Test ! {logged, Text};
log(_Other, _Config) -> ok.

strings() ->
    {ok, Python} = application:get_env(erlang_python, python),
    Pool = [
        {name, default},
        {workers, 1},
        {python, binary_to_list(Python)},
        {cd, "/"},
        {env, [{"GREETING", "grüß dich"}]},
        {paths, ["/srv/shop"]},
        {preload, ["json", {code, "shop = 'tea'"}]}
    ],
    py_test:with_settings([{pools, [Pool]}], fun() ->
        Code = "__import__('os').environ['GREETING'], __import__('os').getcwd(), '/srv/shop' in __import__('sys').path, shop",
        ?assertEqual({ok, {<<"grüß dich"/utf8>>, <<"/">>, true, <<"tea">>}}, py:eval(Code))
    end).

%% Whoever comes while the pool starts waits for it, whatever he asks.
first_calls() ->
    First = [
        fun() -> {ok, _} = py:version() end,
        fun() -> [{ok, 1}] = py_pool:broadcast({eval, "1"}) end,
        fun() -> {ok, _} = py:memory_stats() end,
        fun() -> true = lists:member(py:execution_mode(), [multi_executor, free_threaded]) end,
        fun() -> ok = py:add_path("/tmp") end,
        fun() -> {ok, 4.0} = py:call(math, sqrt, [16]) end
    ],
    [
        py_test:with_settings([{num_workers, 1}], fun() ->
            Pids = [spawn_monitor(Call) || Call <- First ++ First],
            [receive {'DOWN', Ref, process, Pid, Reason} -> ?assertEqual(normal, Reason) end || {Pid, Ref} <- Pids]
        end)
     || _ <- lists:seq(1, 20)
    ].

num_workers() ->
    ?assertEqual(3, workers([{num_workers, 3}])),
    ?assertEqual(1, workers([{num_workers, 1}])),
    ?assertEqual(erlang:system_info(schedulers_online), workers([])).

%% A worker does the work of all three kinds: there are as many as the largest number says.
other_workers() ->
    ?assertEqual(3, workers([{num_workers, 1}, {num_async_workers, 2}, {num_subinterp_workers, 3}])),
    ?assertEqual(2, workers([{num_workers, 1}, {num_async_workers, 2}])),
    ?assertEqual(2, workers([{num_workers, 2}, {num_async_workers, 0}, {num_subinterp_workers, 1}])).

max_concurrent() ->
    py_test:with_settings([{num_workers, 2}, {max_concurrent, 1}], fun() ->
        ?assertEqual(1, py_semaphore:max_concurrent()),
        py_test:gate(),
        Ref = py:call_async(erlang, gate, []),
        Open = py_test:open_gate(),
        ?assertEqual({error, {overloaded, 1, 1}}, py:call(math, sqrt, [16])),
        ?assertEqual({error, {overloaded, 1, 1}}, py:eval("1")),
        ?assertEqual({error, {overloaded, 1, 1}}, py:exec("1")),
        ?assertEqual({error, {overloaded, 1, 1}}, py:stream_eval("1")),
        ?assertEqual({error, {overloaded, 1, 1}}, py:await(py:call_async(math, sqrt, [16]))),
        Open(),
        ?assertEqual({ok, <<"open">>}, py:await(Ref)),
        ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16])),
        %% Not more at once than are let in.
        ?assertEqual({ok, lists:duplicate(6, {ok, 4.0})}, py:parallel(lists:duplicate(6, {math, sqrt, [16]}))),
        py_test:whole()
    end).

nested() ->
    py_test:with_settings([{num_workers, 1}, {max_concurrent, 1}], fun() ->
        ok = py:register_function(down, fun
            ([0]) -> 0;
            ([N]) -> {ok, V} = py:eval("erlang.down(n)", #{n => N - 1}), V + 1
        end),
        ?assertEqual({ok, 10}, py:eval("erlang.down(10)")),
        %% What a callback starts is part of the request too.
        ok = py:register_function(aside, fun([]) ->
            {ok, A} = py:await(py:call_async(math, sqrt, [16])),
            {ok, [B]} = py:async_gather([{math, sqrt, [16]}]),
            {ok, [{ok, C}]} = py:parallel([{math, sqrt, [16]}]),
            [A, B, C]
        end),
        ?assertEqual({ok, [4.0, 4.0, 4.0]}, py:eval("erlang.aside()")),
        py_test:whole()
    end).

no_python() ->
    {ok, Python} = application:get_env(erlang_python, python),
    py_test:with_settings([{num_workers, 2}, {python, <<"/no/such/python">>}], fun() ->
        None = {error, no_workers_available},
        [
            ?assertEqual({Index, None}, {Index, Call()})
         || {Index, Call} <- lists:enumerate([
                fun() -> py:call(math, sqrt, [16]) end,
                fun() -> py:eval("1") end,
                fun() -> py:exec("1") end,
                fun() -> py:await(py:call_async(math, sqrt, [16])) end,
                fun() -> py:stream(math, sqrt, [16]) end,
                fun() -> py:stream_eval("1") end,
                fun() -> py:async_await(py:async_call(math, sqrt, [16])) end,
                fun() -> py:async_gather([{math, sqrt, [16]}]) end,
                fun() -> py:bind() end,
                fun() -> py:bind(new) end,
                fun() -> py:with_context(fun() -> never end) end,
                fun() -> py:reload(math) end,
                fun() -> py:activate_venv("/no/such/venv") end,
                fun() -> py:deactivate_venv() end,
                fun() -> py:venv_info() end,
                fun() -> py:add_path("/tmp") end,
                fun() -> py:memory_stats() end,
                fun() -> py:gc() end,
                fun() -> py:tracemalloc_start() end,
                fun() -> py:tracemalloc_stop() end,
                fun() -> py:version() end,
                fun() -> py:interrupt(1) end,
                fun() -> py_pool:broadcast({eval, "1"}) end
            ])
        ],
        ?assertEqual({ok, [None]}, py:parallel([{math, sqrt, [16]}])),
        {ok, Ref} = py:stream_start(math, sqrt, [16]),
        receive {py_stream, Ref, Event} -> ?assertEqual(None, Event) end,
        ?assertEqual(ok, py:cast(math, sqrt, [16])),
        ?assertEqual(multi_executor, py:execution_mode()),
        ?assertEqual(2, py:num_executors()),
        ?assertMatch(#{num_workers := 2, available_workers := 0, checked_out := 0}, py_pool:get_stats())
    end),
    ok = application:set_env(erlang_python, python, Python).

bad_number() ->
    application:load(erlang_python),
    [
        begin
            application:set_env(erlang_python, Key, Value),
            {error, {erlang_python, {bad_return, {_Start, {'EXIT', {Error, _Stack}}}}}} =
                application:ensure_all_started(erlang_python),
            application:unset_env(erlang_python, Key),
            #{'__struct__' := 'Elixir.ArgumentError', message := Message} = Error,
            ?assertMatch({match, _}, re:run(Message, atom_to_list(Key)))
        end
     || {Key, Value} <- [{num_workers, many}, {num_workers, 0}, {num_async_workers, -1}, {num_subinterp_workers, 1.5}]
    ].

too_large() ->
    Pool = [{name, default}, {workers, 1}, {max_message_size, 65_536}],
    py_test:with_settings([{pools, [Pool]}], fun() ->
        {error, {encode, Text}} = py:call(builtins, len, [binary:copy(<<"a">>, 100_000)]),
        ?assertMatch({match, _}, re:run(Text, "65536")),
        ?assertMatch({error, {encode, _}}, py:eval("'a' * 100_000")),
        ?assertMatch({error, {encode, _}}, py:stream_eval("('a' * 100_000 for _ in range(1))")),
        ok = py:register_function(large, fun([]) -> binary:copy(<<"a">>, 100_000) end),
        ?assertMatch({error, {'ElixirError', _}}, py:eval("erlang.large()")),
        ?assertEqual({ok, 1}, py:eval("1")),
        py_test:whole()
    end).

%% Handles of contexts and streams that have outlived their pool.
stopped() ->
    {Contexts, Stream} = py_test:with_settings([{num_workers, 2}], fun() ->
        [{ok, 1} = py:eval("1") || _ <- lists:seq(1, 5)],
        {ok, First} = py:bind(new),
        {ok, Second} = py:bind(new),
        {ok, Numbers} = py:ctx_eval(First, "iter([1, 2])"),
        {[First, Second], Numbers}
    end),
    py_test:with_settings([{num_workers, 1}], fun() ->
        %% They are not taken for a context of the new pool.
        [
            begin
                {ok, New} = py:bind(new),
                [?assertEqual({error, context_lost}, py:ctx_eval(Ctx, "1")) || Ctx <- Contexts],
                ?assertEqual({ok, 1}, py:ctx_eval(New, "1")),
                ok = py:unbind(New)
            end
         || _ <- lists:seq(1, 10)
        ],
        [?assertEqual(ok, py:unbind(Ctx)) || Ctx <- Contexts],
        ?assertMatch({error, {worker_down, _}}, py:stream_next(Stream)),
        ?assertEqual(ok, py:stream_close(Stream)),
        ?assertEqual({ok, 1}, py:eval("1"))
    end).
