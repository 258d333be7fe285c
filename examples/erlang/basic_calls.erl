%% Calls, expressions, statements, errors: what a first hour with `py` needs.
-module(basic_calls).

-export([main/0]).

main() ->
    {ok, Version} = py:version(),
    io:format("Python ~s in ~p processes.~n", [Version, py:num_executors()]),

    io:format("~nA function, with arguments and with keyword arguments:~n"),
    {ok, Root} = py:call(math, sqrt, [16]),
    io:format("  math.sqrt(16) is ~p~n", [Root]),
    {ok, Sorted} = py:call(builtins, sorted, [[3, 1, 2]], #{reverse => true}),
    io:format("  sorted([3, 1, 2], reverse=True) is ~w~n", [Sorted]),

    io:format("~nAn expression, whose variables Erlang sets:~n"),
    Prices = #{<<"tea">> => 4.5, <<"cups">> => 12.0},
    {ok, Dear} = py:eval("[name for name, price in prices.items() if price > limit]",
        #{prices => Prices, limit => 10}),
    io:format("  dearer than 10: ~p~n", [Dear]),

    io:format("~nStatements:~n"),
    ok = py:exec("import json, textwrap"),
    {ok, Text} = py:call(json, dumps, [Prices], #{sort_keys => true}),
    io:format("  as JSON: ~s~n", [Text]),

    io:format("~nAn error of Python's is a value, and ends nothing:~n"),
    {error, {Type, Message}} = py:eval("1 / 0"),
    io:format("  ~p: ~s~n", [Type, Message]),
    {error, timeout} = py:exec("while True: pass", 200),
    io:format("  an endless loop: timeout~n"),
    {error, {worker_down, _Why}} = py:exec("import ctypes; ctypes.string_at(0)"),
    io:format("  a segmentation fault: worker_down~n"),
    {ok, 2} = py:eval("1 + 1"),
    io:format("  and 1 + 1 is 2 again~n"),

    io:format("~nMany at once:~n"),
    Refs = [py:call_async(math, factorial, [N]) || N <- [5, 10, 20]],
    io:format("  factorials: ~p~n", [[Value || Ref <- Refs, {ok, Value} <- [py:await(Ref)]]]),
    {ok, Results} = py:parallel([{math, sqrt, [N]} || N <- [4, -4]]),
    io:format("  in parallel: ~p~n", [Results]),

    io:format("~nA generator, whole and item by item:~n"),
    {ok, Squares} = py:stream_eval("(n * n for n in range(6))"),
    io:format("  ~w~n", [Squares]),
    {ok, Words} = py:eval("iter('one at a time'.split())"),
    io:format("  ~s", [element(2, py:stream_next(Words))]),
    io:format(", ~s~n", [element(2, py:stream_next(Words))]),
    ok = py:stream_close(Words).
