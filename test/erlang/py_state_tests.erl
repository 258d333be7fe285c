%% State that Erlang and all workers share.
-module(py_state_tests).

-include_lib("eunit/include/eunit.hrl").

state_test_() ->
    py_test:suite([
        {"state_store/2, state_fetch/1, state_remove/1", fun store/0},
        {"any term is a key and a value, kept verbatim", fun any_term/0},
        {"state_keys/0 and state_clear/0", fun keys/0},
        {"state_incr/1,2 and state_decr/1,2", fun counters/0},
        {"the same values in Python", fun python/0},
        {"two workers, four threads each, 10 000 increments in each", fun exact/0},
        {"the first use of a counter is atomic", fun first_use/0},
        {"bad input", fun bad_input/0}
    ]).

store() ->
    ?assertEqual({error, not_found}, py:state_fetch(a)),
    ?assertEqual(ok, py:state_store(a, 1)),
    ?assertEqual({ok, 1}, py:state_fetch(a)),
    ?assertEqual(ok, py:state_store(a, 2)),
    ?assertEqual({ok, 2}, py:state_fetch(a)),
    ?assertEqual(ok, py:state_remove(a)),
    ?assertEqual({error, not_found}, py:state_fetch(a)),
    ?assertEqual(ok, py:state_remove(a)).

any_term() ->
    Terms = [
        none, undefined, nil, true, atom, 1, 1.0, -(1 bsl 200), <<"binary">>, <<255>>, <<5:3>>,
        "string", [], [1 | 2], {}, {a, [b]}, #{}, #{{k} => v}, self(), make_ref(),
        fun erlang:abs/1, fun(X) -> X end, error, {error, not_found}, {ok, 1}
    ],
    [?assertEqual(ok, py:state_store({key, Term}, Term)) || Term <- Terms],
    [?assertEqual(ok, py:state_store(Term, {value, Term})) || Term <- Terms],
    [?assertEqual({ok, Term}, py:state_fetch({key, Term})) || Term <- Terms],
    [?assertEqual({ok, {value, Term}}, py:state_fetch(Term)) || Term <- Terms],
    ok = py:state_clear().

keys() ->
    ok = py:state_clear(),
    ?assertEqual([], py:state_keys()),
    [ok = py:state_store(Key, x) || Key <- [a, <<"a">>, {a}]],
    ?assertEqual(lists:sort([a, <<"a">>, {a}]), lists:sort(py:state_keys())),
    ?assertEqual(ok, py:state_clear()),
    ?assertEqual([], py:state_keys()),
    ?assertEqual({error, not_found}, py:state_fetch(a)).

counters() ->
    ok = py:state_clear(),
    ?assertEqual(1, py:state_incr(hits)),
    ?assertEqual(11, py:state_incr(hits, 10)),
    ?assertEqual(6, py:state_incr(hits, -5)),
    ?assertEqual(5, py:state_decr(hits)),
    ?assertEqual(0, py:state_decr(hits, 5)),
    ?assertEqual(-1, py:state_decr(below)),
    ?assertEqual({ok, 0}, py:state_fetch(hits)),
    ?assertEqual(1 bsl 100, py:state_incr({big}, 1 bsl 100)),
    ok = py:state_clear().

python() ->
    ok = py:state_store(<<"greeting">>, #{<<"text">> => hello}),
    ?assertEqual({ok, #{<<"text">> => hello}}, py:state_fetch(<<"greeting">>)),
    ?assertEqual({ok, <<"hello">>}, py:eval("str(erlang.state_get('greeting')['text'])")),
    ?assertEqual({ok, 7}, py:eval("erlang.state_get('nothing', 7)")),
    ok = py:exec("import erlang\nerlang.state_set('from_python', [1, 'two'])"),
    ?assertEqual({ok, [1, <<"two">>]}, py:state_fetch(<<"from_python">>)),
    ?assertEqual({ok, 3}, py:eval("erlang.state_incr('n', 3)")),
    ?assertEqual(4, py:state_incr(<<"n">>)),
    ?assertEqual({ok, 2}, py:eval("erlang.state_decr('n', 2)")),
    ?assertEqual({ok, [<<"from_python">>, <<"greeting">>, <<"n">>]}, py:eval("sorted(erlang.state_keys())")),
    ok = py:exec("erlang.state_delete('n')"),
    ?assertEqual({error, not_found}, py:state_fetch(<<"n">>)),
    %% A counter operation on what is no integer is an error there too.
    ?assertMatch({error, {_, _}}, py:eval("erlang.state_incr('greeting')")),
    ok = py:exec("erlang.state_clear()"),
    ?assertEqual([], py:state_keys()).

%% Each worker gets its part by being bound.
exact() ->
    ok = py:state_clear(),
    Code =
        "import erlang, threading\n"
        "def count():\n"
        "    for _ in range(10_000):\n"
        "        erlang.state_incr('count')\n"
        "threads = [threading.Thread(target=count) for _ in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n",
    Test = self(),
    Counters = [
        spawn_link(fun() ->
            ok = py:bind(),
            Test ! {self(), bound},
            receive go -> ok end,
            Test ! {self(), py:exec(Code, infinity)}
        end)
     || _ <- [1, 2]
    ],
    [receive {Pid, bound} -> Pid ! go end || Pid <- Counters],
    [receive {Pid, Result} -> ?assertEqual(ok, Result) end || Pid <- Counters],
    ?assertEqual({ok, 80_000}, py:state_fetch(<<"count">>)),
    ok = py:state_clear().

first_use() ->
    [
        begin
            Refs = [py:call_async(erlang, state_incr, [Key]) || _ <- lists:seq(1, 4)],
            Own = py:state_incr(Key),
            Values = [Own | [Value || Ref <- Refs, {ok, Value} <- [py:await(Ref)]]],
            ?assertEqual([1, 2, 3, 4, 5], lists:sort(Values))
        end
     || N <- lists:seq(1, 100), Key <- [integer_to_binary(N)]
    ],
    ok = py:state_clear().

bad_input() ->
    ok = py:state_store(text, <<"no number">>),
    ok = py:state_store(float, 1.5),
    [
        ?assertEqual({Index, {error, invalid_args}}, {Index, Call()})
     || {Index, Call} <- lists:enumerate([
            fun() -> py:state_incr(text) end,
            fun() -> py:state_incr(float, 1) end,
            fun() -> py:state_decr(text) end,
            fun() -> py:state_decr(float, 1) end,
            fun() -> py:state_incr(n, 1.5) end,
            fun() -> py:state_incr(n, one) end,
            fun() -> py:state_decr(n, 1.5) end,
            fun() -> py:state_decr(n, <<"1">>) end
        ])
    ],
    ?assertEqual({ok, <<"no number">>}, py:state_fetch(text)),
    ?assertEqual({error, not_found}, py:state_fetch(n)),
    ok = py:state_clear().
