%% Calls in both directions, within each other: Erlang calls Python, which calls Erlang, which calls Python.
-module(reentrant).

-export([main/0, fibonacci/1]).

main() ->
    ok = py:add_path(filename:join(os:getenv("EXAMPLES", "."), "erlang")),

    io:format("Fibonacci: Python adds, Erlang remembers.~n"),
    ets:new(memo, [named_table, public]),
    ok = py:register_function(fibonacci, ?MODULE, fibonacci),
    {ok, Fib} = py:call(reentrant, fibonacci, [30]),
    832040 = Fib,
    io:format("  fibonacci(30) is ~p, with ~p numbers remembered~n", [Fib, ets:info(memo, size)]),

    io:format("~nTen levels of Python, with Erlang between them:~n"),
    ok = py:register_function(descend, fun
        ([0, Path]) ->
            [<<"the bottom">> | Path];
        ([Level, Path]) ->
            {ok, Result} = py:call(reentrant, descend, [Level, [<<"E">> | Path]]),
            Result
    end),
    {ok, Path} = py:call(reentrant, descend, [10, []]),
    io:format("  ~s~n", [lists:join(">", lists:reverse(Path))]),
    20 = length(Path),

    io:format("~nA Python class whose methods ask Erlang:~n"),
    Stock = #{<<"tea">> => {3, 4.5}, <<"cups">> => {0, 12.0}},
    ok = py:register_function(stock, fun([Article]) ->
        case Stock of
            #{Article := {Count, Price}} -> #{count => Count, price => Price};
            _ -> error({no_such_article, Article})
        end
    end),
    ok = py:register_function(discount, fun([Total]) ->
        %% Back into Python, while a method of the basket waits for this.
        {ok, Percent} = py:call(reentrant, percent, [Total]),
        Percent
    end),
    {ok, Bill} = py:call(reentrant, checkout, [[{<<"tea">>, 2}, {<<"tea">>, 1}]]),
    io:format("  ~p~n", [Bill]),
    #{<<"articles">> := 3, <<"total">> := 12.15} = Bill,

    io:format("~nA failure at the bottom goes through all levels, with its own text:~n"),
    {error, {'ElixirError', Text}} = py:call(reentrant, checkout, [[{<<"spoons">>, 1}]]),
    io:format("  ~s~n", [Text]),
    {ok, Caught} = py:call(reentrant, careful_checkout, [[{<<"spoons">>, 1}]]),
    io:format("  and Python may catch it: ~s~n", [Caught]).

fibonacci([N]) when N < 2 ->
    N;
fibonacci([N]) ->
    case ets:lookup(memo, N) of
        [{N, Known}] ->
            Known;
        [] ->
            {ok, Value} = py:call(reentrant, fibonacci, [N]),
            ets:insert(memo, {N, Value}),
            Value
    end.
