%% Erlang's processes for Python: it starts them, sends them messages, waits for many of them at once.
-module(concurrency).

-export([main/0]).

main() ->
    ok = py:add_path(filename:join(os:getenv("EXAMPLES", "."), "erlang")),

    io:format("Ten lookups of 100 ms, each in an Erlang process of its own:~n"),
    ok = py:register_function(lookup_all, fun([Names]) -> pmap(fun lookup/1, Names) end),
    {ok, {Answers, Ms}} = py:call(concurrency, ask_all, [10]),
    10 = length(Answers),
    io:format("  ~p answers, the last is ~s, after ~p ms~n", [length(Answers), lists:last(Answers), Ms]),

    io:format("~nThe same from ten Python threads, and from a thousand coroutines:~n"),
    ok = py:register_function(lookup, fun([Name]) -> lookup(Name) end),
    {ok, {10, ThreadsMs}} = py:call(concurrency, ask_from_threads, [10]),
    io:format("  10 threads: ~p ms~n", [ThreadsMs]),
    {ok, {1000, CoroutinesMs}} = py:call(concurrency, ask_from_coroutines, [1000]),
    io:format("  1000 coroutines: ~p ms~n", [CoroutinesMs]),

    io:format("~nAn actor that Python talks to: an Erlang process that outlives each call:~n"),
    Account = spawn_link(fun() -> account(0) end),
    ok = py:register_function(balance, fun([Pid]) ->
        Pid ! {balance, self()},
        receive {balance, Amount} -> Amount end
    end),
    {ok, Balance} = py:call(concurrency, save, [Account, [20, 30, -5]]),
    45 = Balance,
    io:format("  balance: ~p~n", [Balance]),

    io:format("~nA pipeline: Python produces, Erlang processes work, Python collects:~n"),
    ok = py:register_function(start_workers, fun([Count, Collector]) ->
        [spawn(fun() -> worker(Collector) end) || _ <- lists:seq(1, Count)]
    end),
    Collector = spawn_link(fun() -> collector([]) end),
    ok = py:register_function(collected, fun([Pid, Count]) ->
        Pid ! {collect, Count, self()},
        receive {collected, Values} -> lists:sort(Values) end
    end),
    {ok, Squares} = py:call(concurrency, pipeline, [Collector, 12]),
    Squares = [N * N || N <- lists:seq(0, 11)],
    io:format("  ~w~n", [Squares]).

%% Stands for a database or a service.
lookup(Name) ->
    timer:sleep(100),
    <<"answer to ", Name/binary>>.

pmap(Fun, List) ->
    Self = self(),
    Pids = [spawn_link(fun() -> Self ! {self(), Fun(Element)} end) || Element <- List],
    [receive {Pid, Result} -> Result end || Pid <- Pids].

account(Amount) ->
    receive
        {<<"deposit">>, More} ->
            account(Amount + More);
        {balance, From} ->
            From ! {balance, Amount},
            account(Amount)
    end.

worker(Collector) ->
    receive
        {<<"square">>, N} ->
            Collector ! {value, N * N},
            worker(Collector);
        <<"stop">> ->
            ok
    end.

%% Answers when so many values are there.
collector(Values) ->
    receive
        {value, Value} ->
            collector([Value | Values]);
        {collect, Count, From} when length(Values) >= Count ->
            From ! {collected, Values}
    end.
