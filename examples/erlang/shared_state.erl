%% State that Erlang and all Python processes share: values, and counters that lose nothing.
-module(shared_state).

-export([main/0]).

main() ->
    io:format("Erlang stores, Python reads, and the other way round:~n"),
    ok = py:state_store(<<"limits">>, #{<<"tea">> => 3, <<"cups">> => 10}),
    {ok, Limit} = py:eval("erlang.state_get('limits')['cups']"),
    io:format("  Python sees a limit of ~p cups~n", [Limit]),
    ok = py:exec("import erlang\nerlang.state_set('model', {'name': 'small', 'layers': 12})"),
    {ok, Model} = py:state_fetch(<<"model">>),
    io:format("  Erlang sees the model ~p~n", [Model]),

    io:format("~nWhat Erlang stores it gets back as it was:~n"),
    Term = {session, self(), "text", #{started => make_ref()}},
    ok = py:state_store({user, 7}, Term),
    {ok, Term} = py:state_fetch({user, 7}),
    io:format("  ~p~n", [Term]),
    {error, not_found} = py:state_fetch({user, 8}),
    io:format("  user 8: not_found~n"),

    io:format("~nA cache for work of which any worker may do a part:~n"),
    ok = py:register_function(slow_square, fun([N]) ->
        io:format("    computing ~p~n", [N]),
        N * N
    end),
    Cached =
        "(lambda key: erlang.state_get(key) or erlang.state_set(key, erlang.slow_square(n))"
        " or erlang.state_get(key))(f'square {n}')",
    Values = [Value || N <- [12, 12, 13, 12], {ok, Value} <- [py:eval(Cached, #{n => N})]],
    io:format("  squares of 12, 12, 13, 12: ~w~n", [Values]),
    [144, 144, 169, 144] = Values,

    io:format("~nA counter, from Erlang and from eight Python threads at once:~n"),
    Count =
        "import erlang, threading\n"
        "def count():\n"
        "    for _ in range(1_000):\n"
        "        erlang.state_incr('hits')\n"
        "threads = [threading.Thread(target=count) for _ in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n",
    Workers = py:num_executors(),
    Self = self(),
    spawn_link(fun() ->
        [py:state_incr(<<"hits">>) || _ <- lists:seq(1, 1_000)],
        Self ! counted
    end),
    [{ok, none} = Result || Result <- py_pool:broadcast({exec, Count})],
    receive counted -> ok end,
    {ok, Hits} = py:state_fetch(<<"hits">>),
    Hits = 1_000 + Workers * 4 * 1_000,
    io:format("  ~p workers with 4 threads, and Erlang, 1000 times each: ~p~n", [Workers, Hits]),
    io:format("  taking 10 away: ~p~n", [py:state_decr(<<"hits">>, 10)]),

    ok = py:state_clear(),
    [] = py:state_keys().
