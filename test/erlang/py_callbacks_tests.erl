%% Functions that Python calls.
-module(py_callbacks_tests).

-include_lib("eunit/include/eunit.hrl").

-export([product/1]).

callbacks_test_() ->
    py_test:suite([
        {"register_function/2,3", fun register/0},
        {"unregister_function/1", fun unregister/0},
        {"the three ways to call it", fun ways/0},
        {"values", fun values/0},
        {"a failure is a RuntimeError in Python", fun failures/0},
        {"keyword arguments are a TypeError", fun kwargs/0},
        {"code around a callback runs once", fun once/0},
        {"`except Exception` around a callback is harmless", fun except/0},
        {"the first callback of a new thread takes a few milliseconds", fun threads/0},
        {"nesting, in more levels than there are workers", fun nesting/0},
        {"a timeout ends the callback", fun timeout/0},
        {"bad input", fun bad_input/0}
    ]).

product(Numbers) -> lists:foldl(fun erlang:'*'/2, 1, Numbers).

register() ->
    ?assertEqual(ok, py:register_function(total, fun(Args) -> lists:sum(Args) end)),
    ?assertEqual(ok, py:register_function(<<"product">>, ?MODULE, product)),
    ?assertEqual(ok, py:register_function("größte", lists, max)),
    ?assertEqual({ok, [6, 0, 24, 3]},
        py:eval("[erlang.total(1, 2, 3), erlang.total(), erlang.product(2, 3, 4), erlang.größte(1, 3)]")),
    %% Again.
    ?assertEqual(ok, py:register_function(total, fun(_) -> replaced end)),
    ?assertEqual({ok, <<"replaced">>}, py:eval("erlang.total(1)")).

unregister() ->
    ok = py:register_function(gone, fun(_) -> 1 end),
    ?assertEqual({ok, 1}, py:eval("erlang.gone()")),
    ?assertEqual(ok, py:unregister_function("gone")),
    ?assertEqual(ok, py:unregister_function(gone)),
    ?assertMatch({error, {'UnknownFunction', _}}, py:eval("erlang.call('gone')")),
    ?assertMatch({error, {'UnknownFunction', _}}, py:eval("erlang.gone()")).

ways() ->
    ok = py:register_function(f, fun(Args) -> Args end),
    ?assertEqual({ok, [1, 2]}, py:eval("erlang.call('f', 1, 2)")),
    ?assertEqual({ok, [1, 2]}, py:eval("erlang.f(1, 2)")),
    ok = py:exec("from erlang import f\nassert f(1, 2) == [1, 2]"),
    ?assertEqual({ok, [3]}, py:async_await(py:async_call(erlang, acall, [f, 3]))),
    ?assertMatch({error, {'ImportError', _}}, py:exec("from erlang import no_such_function")),
    ?assertMatch({error, {'UnknownFunction', _}}, py:eval("erlang.no_such_function(1)")).

values() ->
    ok = py:register_function(echo, fun([Value]) -> Value end),
    [
        ?assertEqual({ok, Term}, py:eval(["erlang.echo(", Code, ")"]))
     || {Code, Term} <- [
            {"None", none}, {"True", true}, {"(1, 'a')", {1, <<"a">>}}, {"{'a': 1.5}", #{<<"a">> => 1.5}},
            {"{1}", [1]}, {"b'x'", <<"x">>}
        ]
    ],
    ok = py:register_function(is_none, fun([Value]) -> Value =:= none end),
    ?assertEqual({ok, true}, py:eval("erlang.is_none(None)")),
    ok = py:register_function(terms, fun([]) -> [undefined, nil, none, some, {bytes, <<"b">>}] end),
    ?assertEqual({ok, <<"[None, None, None, 'some', b'b']">>}, py:eval("repr(erlang.terms())")).

failures() ->
    ok = py:register_function(crash, fun([Kind]) ->
        case Kind of
            <<"error">> -> error(badarg);
            <<"throw">> -> throw(ball);
            <<"exit">> -> exit(gone);
            <<"kill">> -> exit(self(), kill);
            <<"clause">> -> lists:nth(0, []);
            <<"term">> -> <<1:3>>
        end
    end),
    [
        begin
            ?assertMatch({Kind, {error, {'ElixirError', [_ | _]}}},
                {Kind, py:eval("erlang.crash(kind)", #{kind => Kind})}),
            Code = "try:\n    erlang.crash(kind)\nexcept RuntimeError as error:\n    caught = error",
            ?assertEqual({Kind, ok}, {Kind, py:exec(["import erlang\nkind = '", Kind, "'\n", Code])})
        end
     || Kind <- [<<"error">>, <<"throw">>, <<"exit">>, <<"kill">>, <<"clause">>, <<"term">>]
    ],
    ?assertEqual({ok, true}, py:eval("issubclass(erlang.ElixirError, RuntimeError)")).

kwargs() ->
    ok = py:register_function(f, fun(_) -> 1 end),
    ?assertEqual({error, {'TypeError', "f takes no keyword arguments"}}, py:eval("erlang.f(x=1)")),
    ?assertMatch({error, {'TypeError', _}}, py:eval("erlang.call('f', 1, x=1)")).

once() ->
    ok = py:register_function(f, fun([N]) -> N end),
    ok = py:bind(),
    ok = py:exec(
        "import erlang\n"
        "runs = []\n"
        "def around():\n"
        "    runs.append('before')\n"
        "    values = [erlang.f(n) for n in range(100)]\n"
        "    runs.append('after')\n"
        "    return sum(values)\n"
    ),
    ?assertEqual({ok, 4950}, py:call('__main__', around, [])),
    ?assertEqual({ok, [<<"before">>, <<"after">>]}, py:eval("runs")),
    ok = py:unbind().

except() ->
    ok = py:register_function(f, fun([N]) -> N end),
    ok = py:exec(
        "import erlang\n"
        "seen = []\n"
        "for n in range(100):\n"
        "    try:\n"
        "        seen.append(erlang.f(n))\n"
        "    except Exception:\n"
        "        seen.append('caught')\n"
        "assert seen == list(range(100)), seen\n"
    ).

threads() ->
    ok = py:register_function(f, fun([N]) -> N end),
    {ok, Seconds} = py:call(builtins, eval, [
        <<"(lambda names: exec(code, names) or names['times'])({})">>,
        #{
            code =>
                <<"import erlang, threading, time\n"
                "times = []\n"
                "def first():\n"
                "    began = time.perf_counter()\n"
                "    assert erlang.f(7) == 7\n"
                "    times.append(time.perf_counter() - began)\n"
                "for _ in range(21):\n"
                "    thread = threading.Thread(target=first)\n"
                "    thread.start()\n"
                "    thread.join()\n">>
        }
    ]),
    ?assertEqual(21, length(Seconds)),
    %% The best of them: on a busy machine any may wait for a core.
    Best = lists:min(Seconds),
    ?assert(Best < 0.01, Best).

nesting() ->
    ok = py:register_function(down, fun
        ([0]) ->
            0;
        ([N]) ->
            {ok, Deeper} = py:eval("erlang.down(n)", #{n => N - 1}),
            Deeper + 1
    end),
    ?assertEqual({ok, 30}, py:eval("erlang.down(30)")),
    %% By another process each, which no callback has started.
    ok = py:register_function(aside, fun
        ([0]) ->
            0;
        ([N]) ->
            {ok, Deeper} = py:await(py:call_async(erlang, aside, [N - 1])),
            Deeper + 1
    end),
    ?assertEqual({ok, 10}, py:eval("erlang.aside(10)")).

timeout() ->
    Test = self(),
    ok = py:register_function(forever, fun([]) ->
        Test ! {callback, self()},
        receive never -> ok end
    end),
    ?assertEqual({error, timeout}, py:eval("erlang.forever()", #{}, 100)),
    Monitor = receive {callback, Pid} -> monitor(process, Pid) end,
    receive {'DOWN', Monitor, process, _Pid, _Reason} -> ok end.

bad_input() ->
    [
        ?assertEqual({Index, {error, invalid_args}}, {Index, Call()})
     || {Index, Call} <- lists:enumerate([
            fun() -> py:register_function(f, no_function) end,
            fun() -> py:register_function(f, fun() -> 1 end) end,
            fun() -> py:register_function(f, fun(_, _) -> 1 end) end,
            fun() -> py:register_function(1, fun(_) -> 1 end) end,
            fun() -> py:register_function("", fun(_) -> 1 end) end,
            fun() -> py:register_function('', fun(_) -> 1 end) end,
            fun() -> py:register_function(f, "lists", sum) end,
            fun() -> py:register_function(f, lists, {sum}) end,
            fun() -> py:unregister_function(1) end,
            fun() -> py:unregister_function("") end
        ])
    ],
    %% What is not there is known when it is called.
    ok = py:register_function(f, no_such_module, f),
    ?assertMatch({error, {'ElixirError', _}}, py:eval("erlang.f()")),
    ok = py:register_function(f, lists, no_such_function),
    ?assertMatch({error, {'ElixirError', _}}, py:eval("erlang.f()")).
