%% Erlang code as users write it: every function of py, py_pool and py_semaphore, and each documented result
%% matched. It is compiled and checked by scripts/dialyzer.sh, and never run: Dialyzer warns where a specification
%% allows less than what is called or matched here.
-module(py_caller).

-export([calls/0, streams/0, asyncio/1, callbacks/0, state/1, contexts/0, workers/0, environments/0, tracing/0, reasons/1,
         pool/0, semaphore/0, erlport/0]).

calls() ->
    {ok, _} = py:call(math, sqrt, [16]),
    {ok, _} = py:call("os.path", <<"join">>, [<<"a">>, "b"]),
    {ok, _} = py:call(builtins, sorted, [[3, 1]], #{reverse => true}),
    {ok, _} = py:call(builtins, sorted, [[3, 1]], [{"reverse", true}], 5000),
    {ok, _} = py:call(builtins, sorted, [[3, 1]], #{}, infinity),
    {ok, _} = py:eval("1 + 1"),
    {ok, _} = py:eval(<<"x">>, #{x => {bytes, <<1>>}}),
    {ok, _} = py:eval("x", [{x, none}], infinity),
    ok = py:exec(<<"x = 1">>),
    case py:exec("import nothing", 1000) of
        ok -> ok;
        {error, Reason} -> reasons(Reason)
    end,
    ok = py:cast(gc, collect, []),
    ok = py:cast(gc, collect, [], #{<<"generation">> => 1}),
    Ref = py:call_async(math, factorial, [5]),
    case py:await(Ref) of
        {ok, Value} -> Value;
        {error, timeout} -> py:await(Ref, 1000)
    end,
    py:await(py:call_async(builtins, dict, [], [{a, 1}]), infinity).

streams() ->
    {ok, [_ | _]} = py:stream(builtins, range, [3]),
    {ok, _} = py:stream(builtins, range, [3], #{}),
    {ok, []} = py:stream_eval("()"),
    {ok, _} = py:stream_eval(<<"iter(x)">>, #{x => [1]}),
    {ok, Ref} = py:stream_start(builtins, iter, [[1, 2]]),
    {ok, _} = py:stream_start(builtins, iter, [[1, 2]], #{}),
    receive
        {py_stream, Ref, {data, Value}} -> Value;
        {py_stream, Ref, done} -> done;
        {py_stream, Ref, {error, Reason}} -> reasons(Reason)
    end,
    ok = py:stream_cancel(Ref),
    {ok, Stream} = py:eval("iter([1])"),
    case py:stream_next(Stream) of
        {ok, Item} -> Item;
        done -> done;
        {error, Failed} -> reasons(Failed)
    end,
    _ = py:stream_next(Stream, 100),
    ok = py:stream_close(Stream).

asyncio(Calls) ->
    Ref = py:async_call(asyncio, sleep, [0.1]),
    {ok, none} = py:async_await(Ref),
    {error, _} = py:async_await(py:async_call(asyncio, sleep, [1], #{result => 2}), 10),
    case py:async_gather([{asyncio, sleep, [1]}, {asyncio, sleep, [1], #{result => 1}} | Calls]) of
        {ok, [_ | _] = Results} -> Results;
        {error, Reason} -> reasons(Reason)
    end,
    {ok, Items} = py:async_stream(my_module, ticks, []),
    {ok, More} = py:async_stream(my_module, ticks, [], #{}),
    Items ++ More.

callbacks() ->
    ok = py:register_function(total, fun(Numbers) -> lists:sum(Numbers) end),
    ok = py:register_function("largest", fun lists:max/1),
    ok = py:register_function(<<"smallest">>, lists, min),
    {error, invalid_args} = py:register_function(<<>>, lists, min),
    ok = py:unregister_function(total).

state(Key) ->
    case py:state_store(Key, self()) of
        ok -> ok;
        {error, {encode, _TooLarge}} -> full
    end,
    case py:state_fetch(Key) of
        {ok, Value} -> Value;
        {error, not_found} -> none
    end,
    ok = py:state_remove(Key),
    [] = py:state_keys(),
    ok = py:state_clear(),
    One = py:state_incr(hits),
    _ = case py:state_incr(hits, 10) of
        {error, invalid_args} -> 0;
        {error, {encode, _}} -> 0;
        Count -> Count + One
    end,
    py:state_decr(hits) + py:state_decr(hits, 2).

contexts() ->
    ok = py:bind(),
    true = py:is_bound(),
    ok = py:unbind(),
    false = py:is_bound(),
    case py:bind(new) of
        {ok, Context} ->
            ok = py:ctx_exec(Context, "x = 1"),
            ok = py:ctx_exec(Context, <<"x = 1">>, 1000),
            {ok, _} = py:ctx_eval(Context, "x"),
            {ok, _} = py:ctx_eval(Context, "x + y", #{y => 1}),
            {ok, _} = py:ctx_eval(Context, "x + y", #{y => 1}, infinity),
            {ok, _} = py:ctx_call(Context, math, sqrt, [4]),
            {ok, _} = py:ctx_call(Context, math, sqrt, [4], #{}),
            case py:ctx_call(Context, math, sqrt, [4], #{}, 1000) of
                {ok, Value} -> Value;
                {error, context_lost} -> lost
            end,
            ok = py:unbind(Context);
        {error, no_workers_available} ->
            none
    end,
    py:with_context(fun() -> py:eval("1") end),
    py:with_context(fun(Inner) -> py:ctx_eval(Inner, "1") end).

workers() ->
    case py:reload(my_module) of
        ok -> ok;
        {error, [{Worker, Failed} | _]} when is_integer(Worker) -> reasons(Failed);
        {error, no_workers_available} -> none
    end,
    {ok, Results} = py:parallel([{math, sqrt, [16]}, {builtins, dict, [], #{a => 1}}]),
    [case Result of {ok, Value} -> Value; {error, Reason} -> reasons(Reason) end || Result <- Results],
    case py:subinterp_supported() of
        true -> parallel;
        false -> serial
    end,
    case py:execution_mode() of
        free_threaded -> threads;
        subinterp -> interpreters;
        multi_executor -> processes
    end,
    Executors = py:num_executors(),
    ok = py:interrupt(Executors),
    _ = case py:memory_stats() of
        {ok, #{traced_memory_current := Current, traced_memory_peak := Peak}} -> {Current, Peak};
        {ok, #{gc_stats := [#{<<"collected">> := Collected} | _], gc_count := Count, gc_threshold := Threshold}} ->
            {Collected, Count, Threshold};
        {error, Why} -> reasons(Why)
    end,
    {ok, _} = py:gc(),
    {ok, Unreachable} = py:gc(2),
    ok = py:tracemalloc_start(),
    ok = py:tracemalloc_start(Unreachable),
    ok = py:tracemalloc_stop(),
    ok = py:configure_logging(),
    ok = py:configure_logging(#{level => debug, format => "%(message)s"}),
    ok = py:configure_logging([{level, warning}]),
    {ok, Version} = py:version(),
    Version.

environments() ->
    case py:activate_venv("/srv/venv") of
        ok -> ok;
        {error, {invalid_venv, Path}} -> Path
    end,
    {ok, #{<<"active">> := _, <<"venv_path">> := _, <<"site_packages">> := _, <<"sys_path">> := _}} = py:venv_info(),
    ok = py:add_path(<<"/srv/python">>),
    ok = py:deactivate_venv().

tracing() ->
    ok = py:enable_tracing(),
    {ok, [#{name := Name, kind := Kind, status := Status} | _]} = py:get_traces(),
    ok = py:disable_tracing(),
    ok = py:clear_traces(),
    {<<Name/binary>>, atom_to_list(Kind), atom_to_list(Status)}.

%% Why something may fail.
reasons(Reason) ->
    case Reason of
        {'NameError', Message} when is_list(Message) -> Message;
        {Type, [_ | _] = Message} when is_binary(Type) -> Message;
        {stop_iteration, none} -> stop;
        timeout -> timeout;
        cancelled -> cancelled;
        {overloaded, Current, Max} -> Current / Max;
        no_workers_available -> none;
        {worker_down, Why} -> Why;
        context_lost -> lost;
        context_not_bound -> released;
        invalid_args -> badarg;
        {invalid_venv, Path} -> Path;
        {encode, Text} -> Text;
        {decode, Text} -> Text
    end.

pool() ->
    #{num_workers := Workers, available_workers := Idle, checked_out := Busy, pending_requests := Pending} =
        py_pool:get_stats(),
    [{ok, _} | _] = py_pool:broadcast({call, math, sqrt, [16]}),
    [{error, Reason} | _] = py_pool:broadcast({exec, <<"1 / 0">>}),
    reasons(Reason),
    {error, Why} = py_pool:broadcast({eval, "x", #{x => 1}}),
    reasons(Why),
    Ref = make_ref(),
    ok = py_pool:request({stream, Ref, self(), builtins, iter, [[1]]}),
    ok = py_pool:request({stream, Ref, self(), builtins, iter, [[1]], #{}}),
    ok = py_pool:request({stream_eval, Ref, self(), "iter([1])"}),
    ok = py_pool:request({stream_eval, Ref, self(), <<"iter(x)">>, #{x => [1]}}),
    receive
        {py_chunk, Ref, Value} -> Value;
        {py_end, Ref} -> Workers + Idle + Busy + Pending;
        {py_error, Ref, Failed} -> reasons(Failed)
    end.

semaphore() ->
    case py_semaphore:acquire(100) of
        ok -> py_semaphore:release();
        {error, max_concurrent} -> py_semaphore:current()
    end,
    ok = py_semaphore:set_max_concurrent(2 * py_semaphore:max_concurrent()).

erlport() ->
    {ok, P} = 'Elixir.ErlangPython.ErlPort':start([{python_path, ["/srv/python"]}, {python, "python3"}, use_stdio]),
    {ok, _} = 'Elixir.ErlangPython.ErlPort':start(),
    {ok, _} = 'Elixir.ErlangPython.ErlPort':start(named, [{env, [{"A", false}]}, {cd, "/srv"}]),
    {ok, _} = 'Elixir.ErlangPython.ErlPort':start_link(),
    {ok, _} = 'Elixir.ErlangPython.ErlPort':start_link([{call_timeout, 1000}, {packet, 4}]),
    _ = case 'Elixir.ErlangPython.ErlPort':start_link({local, other}, [nouse_stdio]) of
        {ok, Other} -> 'Elixir.ErlangPython.ErlPort':cast(Other, {message, 1});
        {error, {invalid_option, _Option, Text}} -> binary_to_list(Text);
        {error, {already_started, _}} -> 'Elixir.ErlangPython.ErlPort':cast(other, message)
    end,
    4 = 'Elixir.ErlangPython.ErlPort':call(P, operator, add, [2, 2]),
    "abc" = 'Elixir.ErlangPython.ErlPort':call(named, builtins, str, ["abc"], [{timeout, 1000}]),
    'Elixir.ErlangPython.ErlPort':stop(P).
