%% Traces: what they record and how they look.
-module(py_tracing_tests).

-include_lib("eunit/include/eunit.hrl").

tracing_test_() ->
    py_test:suite([
        {"enable_tracing/0, disable_tracing/0, get_traces/0, clear_traces/0", fun switches/0},
        {"a span", fun span/0},
        {"a failure", fun failure/0},
        {"calls within each other", fun nested/0}
    ]).

%% The spans that Fun leaves, the oldest first.
traces(Fun) ->
    ok = py:clear_traces(),
    ok = py:enable_tracing(),
    Fun(),
    ok = py:disable_tracing(),
    {ok, Spans} = py:get_traces(),
    ok = py:clear_traces(),
    Spans.

switches() ->
    ok = py:clear_traces(),
    ?assertEqual({ok, []}, py:get_traces()),
    {ok, 4.0} = py:call(math, sqrt, [16]),
    ?assertEqual({ok, []}, py:get_traces()),
    ?assertEqual(ok, py:enable_tracing()),
    ?assertEqual(ok, py:enable_tracing()),
    {ok, 4.0} = py:call(math, sqrt, [16]),
    ?assertEqual(ok, py:disable_tracing()),
    ?assertEqual(ok, py:disable_tracing()),
    {ok, 4.0} = py:call(math, sqrt, [16]),
    ?assertMatch({ok, [_]}, py:get_traces()),
    ?assertMatch({ok, [_]}, py:get_traces()),
    ?assertEqual(ok, py:clear_traces()),
    ?assertEqual({ok, []}, py:get_traces()).

span() ->
    [Span] = traces(fun() -> py:call(math, sqrt, [16]) end),
    #{
        name := <<"math.sqrt">>, kind := call, trace_id := Trace, span_id := Id,
        parent_id := undefined, start_time := Start, end_time := End, duration_us := Duration,
        status := Status, message := undefined, attributes := #{}, events := [],
        pool := default, worker := Worker
    } = Span,
    ?assertEqual({32, 16}, {byte_size(Trace), byte_size(Id)}),
    ?assert(abs(erlang:system_time(microsecond) - Start) < 60_000_000),
    ?assert(End >= Start),
    ?assert(Duration >= 0),
    ?assert(lists:member(Status, [ok, unset])),
    ?assert(lists:member(Worker, [1, 2])).

failure() ->
    [Span] = traces(fun() -> py:call(operator, truediv, [1, 0]) end),
    #{status := error, message := Text} = Span,
    ?assertMatch({match, _}, re:run(Text, "division by zero")).

nested() ->
    ok = py:register_function(inner, fun([]) ->
        {ok, 2.0} = py:call(math, sqrt, [4]),
        {ok, 3.0} = py:await(py:call_async(math, sqrt, [9])),
        none
    end),
    Spans = traces(fun() -> {ok, none} = py:call(erlang, inner, []) end),
    [Call] = [Id || #{kind := call, parent_id := undefined, span_id := Id} <- Spans],
    [Callback] = [Id || #{kind := callback, parent_id := Parent, span_id := Id} <- Spans, Parent =:= Call],
    Below = [Name || #{kind := call, parent_id := Parent, name := Name} <- Spans, Parent =:= Callback],
    ?assertEqual([<<"math.sqrt">>, <<"math.sqrt">>], Below),
    ?assertMatch([_], lists:usort([Trace || #{trace_id := Trace} <- Spans])).
