%% The modules have the functions of the 1.x API, and no others.
-module(py_exports_tests).

-include_lib("eunit/include/eunit.hrl").

py_test_() ->
    Expected = [
        {call, [3, 4, 5]}, {eval, [1, 2, 3]}, {exec, [1, 2]}, {cast, [3, 4]},
        {call_async, [3, 4]}, {await, [1, 2]},
        {stream, [3, 4]}, {stream_eval, [1, 2]}, {stream_start, [3, 4]}, {stream_cancel, [1]},
        {stream_next, [1, 2]}, {stream_close, [1]},
        {async_call, [3, 4]}, {async_await, [1, 2]}, {async_gather, [1]}, {async_stream, [3, 4]},
        {register_function, [2, 3]}, {unregister_function, [1]},
        {state_store, [2]}, {state_fetch, [1]}, {state_remove, [1]}, {state_keys, [0]},
        {state_clear, [0]}, {state_incr, [1, 2]}, {state_decr, [1, 2]},
        {bind, [0, 1]}, {unbind, [0, 1]}, {is_bound, [0]}, {with_context, [1]},
        {ctx_call, [4, 5, 6]}, {ctx_eval, [2, 3, 4]}, {ctx_exec, [2, 3]},
        {reload, [1]},
        {activate_venv, [1]}, {deactivate_venv, [0]}, {venv_info, [0]}, {add_path, [1]},
        {parallel, [1]}, {subinterp_supported, [0]}, {execution_mode, [0]}, {num_executors, [0]},
        {memory_stats, [0]}, {gc, [0, 1]}, {tracemalloc_start, [0, 1]}, {tracemalloc_stop, [0]},
        {version, [0]}, {interrupt, [1]}, {configure_logging, [0, 1]},
        {enable_tracing, [0]}, {disable_tracing, [0]}, {get_traces, [0]}, {clear_traces, [0]}
    ],
    ?_assertEqual(expand(Expected), exports(py)).

py_pool_test() ->
    ?assertEqual(expand([{broadcast, [1]}, {get_stats, [0]}, {request, [1]}]), exports(py_pool)).

py_semaphore_test() ->
    Expected = expand([
        {acquire, [1]}, {release, [0]}, {current, [0]}, {max_concurrent, [0]},
        {set_max_concurrent, [1]}
    ]),
    ?assertEqual([], Expected -- exports(py_semaphore)).

expand(Functions) -> lists:sort([{F, Arity} || {F, Arities} <- Functions, Arity <- Arities]).

exports(Module) ->
    [
        Export
     || {Name, _} = Export <- lists:sort(Module:module_info(exports)),
        not lists:member(Name, ['__info__', module_info])
    ].
