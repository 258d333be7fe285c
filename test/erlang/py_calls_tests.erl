%% Calls: names, shapes, reasons and types.
-module(py_calls_tests).

-include_lib("eunit/include/eunit.hrl").

-export([log/2]).

calls_test_() ->
    py_test:suite([
        {"names", fun names/0},
        {"call/3,4,5", fun call/0},
        {"eval/1,2,3", fun eval/0},
        {"exec/1,2", fun exec/0},
        {"cast/3,4", fun cast/0},
        {"call_async/3,4 and await/1,2", fun await/0},
        {"an answer that comes late is not in the mailbox", fun late_answers/0},
        {"version/0", fun version/0},
        {"a Python error is {Type, Message}", fun python_errors/0},
        {"class names do not fill the atom table", fun class_names/0},
        {"SystemExit and KeyboardInterrupt leave the worker alone", fun exits/0},
        {"other reasons", fun reasons/0},
        {"what goes in", fun types_in/0},
        {"what comes back", fun types_back/0},
        {"large values", fun large_values/0},
        {"bad input", fun bad_input/0},
        {"workers that die", fun dead_workers/0}
    ]).

names() ->
    [
        ?assertEqual({ok, 4.0}, py:call(Module, Function, [16]))
     || Module <- [math, <<"math">>, "math"], Function <- [sqrt, <<"sqrt">>, "sqrt"]
    ],
    ?assertEqual({ok, <<"a/b">>}, py:call('os.path', join, [<<"a">>, <<"b">>])),
    ?assertEqual(py:call(os, getcwd, []), py:call(<<"pathlib">>, "Path.cwd", [])),
    %% Of any alphabet, as names and in code.
    ?assertEqual({ok, #{<<"größe"/utf8>> => 1}}, py:call(builtins, dict, [], #{"größe" => 1})),
    ?assertEqual({ok, #{<<"größe"/utf8>> => 2}}, py:call(builtins, dict, [], #{'größe' => 2})),
    ?assertEqual({ok, 3}, py:eval("größe + 1", #{<<"größe"/utf8>> => 2})),
    ?assertEqual({ok, <<"日本"/utf8>>}, py:eval("'日本'")),
    ?assertEqual({ok, <<"日本"/utf8>>}, py:eval(<<"'日本'"/utf8>>)),
    %% A string may be of several parts.
    ?assertEqual({ok, 3}, py:eval(["1 + ", <<"2">>])).

call() ->
    ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16])),
    ?assertEqual({ok, [3, 2, 1]}, py:call(builtins, sorted, [[1, 3, 2]], #{reverse => true})),
    ?assertEqual({ok, [3, 2, 1]}, py:call(builtins, sorted, [[1, 3, 2]], [{<<"reverse">>, true}])),
    ?assertEqual({ok, [1, 2]}, py:call(builtins, sorted, [[2, 1]], [])),
    ?assertEqual({ok, [2, 1]}, py:call(builtins, sorted, [[1, 2]], #{"reverse" => true}, 5000)),
    ?assertEqual({ok, [1, 2]}, py:call(builtins, sorted, [[2, 1]], #{}, infinity)),
    ?assertEqual({error, timeout}, py:call(time, sleep, [60], #{}, 50)).

eval() ->
    ?assertEqual({ok, 2}, py:eval("1 + 1")),
    ?assertEqual({ok, 42}, py:eval(<<"x * 2">>, #{x => 21})),
    ?assertEqual({ok, 42}, py:eval(<<"x * y">>, [{x, 21}, {"y", 2}])),
    ?assertEqual({ok, 1}, py:eval("x", #{x => 1}, 5000)),
    ?assertEqual({ok, 1}, py:eval("x", #{x => 1}, infinity)),
    ?assertEqual({error, timeout}, py:eval("__import__('time').sleep(60)", #{}, 50)),
    %% Variables are for this evaluation only.
    ?assertMatch({error, {'NameError', _}}, py:eval("x")).

exec() ->
    ?assertEqual(ok, py:exec("import json")),
    ?assertEqual(ok, py:exec(<<"a = 1\nb = a + 1">>, 5000)),
    ?assertEqual(ok, py:exec("", infinity)),
    ?assertEqual({error, {'ZeroDivisionError', "division by zero"}}, py:exec("1 / 0")),
    ?assertMatch({error, {'SyntaxError', _}}, py:exec("def")),
    ?assertEqual({error, timeout}, py:exec("while True: pass", 50)).

cast() ->
    ok = py:register_function(arrived, fun([To, What]) -> To ! {arrived, What}, none end),
    ?assertEqual(ok, py:cast(erlang, call, [arrived, self(), 1])),
    receive {arrived, 1} -> ok end,
    ?assertEqual(ok, py:cast("functools", partial, [arrived], #{a => 1})),
    %% A failure is in the log.
    Failure = logged(fun() -> py:cast(builtins, int, [<<"no number">>], #{base => 10}) end),
    ?assertMatch({match, _}, re:run(Failure, "cast to builtins.int failed: ValueError")),
    ok = py:unregister_function(arrived).

%% The text of the next error that is logged and speaks of a cast.
logged(Fun) ->
    Test = self(),
    ok = logger:add_handler(?MODULE, ?MODULE, #{config => Test, level => error}),
    ok = Fun(),
    Text = next_cast_error(),
    ok = logger:remove_handler(?MODULE),
    flush_log(),
    Text.

next_cast_error() ->
    receive
        {logged, Text} ->
            case re:run(Text, "builtins.int") of
                {match, _} -> Text;
                nomatch -> next_cast_error()
            end
    end.

flush_log() ->
    receive
        {logged, _} -> flush_log()
    after 0 -> ok
    end.

%% As a handler of logger.
log(#{msg := {string, Text}}, #{config := Test}) -> Test ! {logged, unicode:characters_to_list(Text)};
log(_Other, _Config) -> ok.

await() ->
    Refs = [py:call_async(math, factorial, [N]) || N <- lists:seq(1, 10)],
    ?assert(lists:all(fun is_reference/1, Refs)),
    ?assertEqual({ok, 3628800}, lists:last([py:await(Ref) || Ref <- Refs])),
    Named = py:call_async("builtins", <<"dict">>, [], #{a => 1}),
    ?assertEqual({ok, #{<<"a">> => 1}}, py:await(Named, 5000)),
    ?assertEqual({error, invalid_args}, py:await(Named)),
    ?assertEqual({ok, 2}, py:await(py:call_async(builtins, abs, [-2]), infinity)),
    ?assertMatch({error, {'TypeError', _}}, py:await(py:call_async(math, sqrt, [none]))),
    %% Too early, and then again; by whoever has the reference.
    py_test:gate(),
    Gated = py:call_async(erlang, gate, []),
    Open = py_test:open_gate(),
    ?assertEqual({error, timeout}, py:await(Gated, 20)),
    Open(),
    Test = self(),
    spawn_link(fun() -> Test ! {fetched, py:await(Gated)} end),
    receive {fetched, Result} -> ?assertEqual({ok, <<"open">>}, Result) end.

late_answers() ->
    Outcomes = [py:call(time, sleep, [0.001], #{}, 1) || _ <- lists:seq(1, 200)],
    ?assertEqual([], lists:usort(Outcomes) -- [{ok, none}, {error, timeout}]),
    Refs = [py:call_async(time, sleep, [0.001]) || _ <- lists:seq(1, 200)],
    Early = [py:await(Ref, 1) || Ref <- Refs],
    ?assertEqual([], lists:usort(Early) -- [{ok, none}, {error, timeout}]),
    [?assertEqual({ok, none}, py:await(Ref)) || {Ref, {error, timeout}} <- lists:zip(Refs, Early)].

version() ->
    {ok, Version} = py:version(),
    ?assertMatch([<<"3">>, _ | _], binary:split(Version, <<".">>, [global])),
    ?assertEqual({ok, Version}, py:call(platform, python_version, [])).

python_errors() ->
    ?assertEqual({error, {'NameError', "name 'nope' is not defined"}}, py:eval("nope")),
    %% The class without its module, the message in code points, wrapped once.
    ?assertMatch({error, {'JSONDecodeError', "Expecting" ++ _}}, py:call(json, loads, [<<"{">>])),
    ?assertEqual({error, {'ValueError', "größer 日"}}, py:exec("raise ValueError('größer 日')")),
    ?assertEqual({error, {'Own', "x"}}, py:exec("class Own(Exception): pass\nraise Own('x')")),
    ?assertEqual({error, {'TimeoutError', "mine"}}, py:exec("raise TimeoutError('mine')")),
    ?assertEqual({error, {stop_iteration, none}}, py:eval("next(iter([]))")),
    ?assertEqual({error, {'KeyError', "'a'"}}, py:eval("{}['a']")),
    ?assertMatch({error, {'ModuleNotFoundError', _}}, py:call(no_such_module, f, [])),
    ?assertMatch({error, {'AttributeError', _}}, py:call(math, no_such_function, [])),
    ?assertMatch({error, {'RecursionError', _}}, py:exec("def f(): f()\nf()")).

class_names() ->
    Raise = fun(Name) ->
        {error, {Type, "x"}} = py:exec(["raise type('", Name, "', (Exception,), {})('x')"]),
        Type
    end,
    Many = [Raise("NeverSeen" ++ integer_to_list(N)) || N <- lists:seq(1, 1100)],
    ?assert(is_atom(hd(Many))),
    ?assertEqual(<<"NeverSeen1100">>, lists:last(Many)),
    Before = erlang:system_info(atom_count),
    [Raise("NeverSeen" ++ integer_to_list(N)) || N <- lists:seq(1101, 1150)],
    ?assertEqual(Before, erlang:system_info(atom_count)),
    %% One that is an atom already, and one that is too long to be.
    ?assertEqual('ValueError', Raise("ValueError")),
    Long = lists:duplicate(300, $A),
    ?assertEqual(list_to_binary(Long), Raise(Long)).

exits() ->
    ok = py:bind(),
    {ok, Pid} = py:call(os, getpid, []),
    ?assertEqual({error, {'SystemExit', "3"}}, py:exec("raise SystemExit(3)")),
    ?assertMatch({error, {'SystemExit', _}}, py:call(sys, exit, [1])),
    ?assertMatch({error, {'KeyboardInterrupt', _}}, py:exec("raise KeyboardInterrupt")),
    ?assertEqual({ok, Pid}, py:call(os, getpid, [])),
    ok = py:unbind().

reasons() ->
    {error, {encode, NoTerm}} = py:eval("object()"),
    ?assertMatch({match, _}, re:run(NoTerm, "object")),
    {error, {encode, NoValue}} = py:call(builtins, print, [<<1:3>>]),
    ?assert(is_binary(NoValue)),
    ?assertMatch({error, {encode, _}}, py:call(builtins, print, [[1 | 2]])),
    ?assertMatch({error, {decode, _}}, py:eval("{'a': 1, b'a': 2}")),
    {error, {worker_down, Why}} = py:exec("import os; os._exit(7)"),
    ?assertMatch({match, _}, re:run(Why, "status 7")),
    %% `cancelled`: see interrupt/1; `overloaded` and `no_workers_available`: see the settings.
    ok.

types_in() ->
    [
        ?assertEqual({ok, Shown}, py:eval("repr(x)", #{x => Term}))
     || {Term, Shown} <- [
            {none, <<"None">>},
            {nil, <<"None">>},
            {undefined, <<"None">>},
            {true, <<"True">>},
            {hello, <<"'hello'">>},
            {<<"text">>, <<"'text'">>},
            {<<255>>, <<"b'\\xff'">>},
            {{bytes, <<"abc">>}, <<"b'abc'">>},
            {"ab", <<"[97, 98]">>},
            {{1, [2.5]}, <<"(1, [2.5])">>},
            {#{a => #{1 => none}}, <<"{'a': {1: None}}">>}
        ]
    ],
    %% An atom is a plain str unless it is an `erlang.Atom`, which Python makes.
    ?assertEqual({ok, true}, py:eval("type(x) is str", #{x => hello})),
    ?assertEqual({ok, hello}, py:eval("erlang.Atom('hello')")).

types_back() ->
    [
        ?assertEqual({ok, Term}, py:eval(Code))
     || {Code, Term} <- [
            {"None", none},
            {"[True, False]", [true, false]},
            {"2 ** 100", 1 bsl 100},
            {"float('nan')", nan},
            {"[float('inf'), -float('inf')]", [infinity, neg_infinity]},
            {"'text'", <<"text">>},
            {"b'\\xff'", <<255>>},
            {"(1, {'a': None})", {1, #{<<"a">> => none}}},
            {"{1}", [1]},
            {"frozenset([2])", [2]},
            {"sorted({'b': 1, 'a': 2}.items())", [{<<"a">>, 2}, {<<"b">>, 1}]}
        ]
    ],
    Pid = self(),
    ?assertEqual({ok, Pid}, py:eval("x", #{x => Pid})),
    Ref = make_ref(),
    ?assertEqual({ok, [Ref]}, py:eval("x", #{x => [Ref]})),
    case py:call(importlib, 'util.find_spec', [numpy]) of
        {ok, none} ->
            ok;
        _there ->
            Array = "__import__('numpy').arange(6.0).reshape(2, 3)",
            ?assertEqual({ok, [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]}, py:eval(Array))
    end.

large_values() ->
    Number = 1 bsl 100_000,
    ?assertEqual({ok, -Number}, py:eval("-x", #{x => Number})),
    Binary = binary:copy(<<0, 255>>, 5_000_000),
    ?assertEqual({ok, Binary}, py:eval("x", #{x => Binary})),
    List = lists:seq(1, 100_000),
    ?assertEqual({ok, 5000050000}, py:call(builtins, sum, [List])),
    Deep = lists:foldl(fun(_, Inner) -> [Inner] end, [], lists:seq(1, 1000)),
    ?assertMatch({error, {encode, _}}, py:call(builtins, len, [Deep])),
    Name = lists:duplicate(100_000, $a),
    ?assertMatch({error, {'ModuleNotFoundError', _}}, py:call(Name, f, [])),
    {error, {'ValueError', Message}} = py:exec("raise ValueError('m' * 1_000_000)"),
    ?assert(length(Message) >= 1000).

bad_input() ->
    Ref = make_ref(),
    [
        ?assertEqual({Index, {error, invalid_args}}, {Index, Call()})
     || {Index, Call} <- lists:enumerate([
            fun() -> py:call(1, f, []) end,
            fun() -> py:call(math, {sqrt}, [16]) end,
            fun() -> py:call(math, <<255>>, [16]) end,
            fun() -> py:call("", sqrt, [16]) end,
            fun() -> py:call(math, sqrt, 16) end,
            fun() -> py:call(math, sqrt, #{}) end,
            fun() -> py:call(math, sqrt, [16], nothing) end,
            fun() -> py:call(math, sqrt, [16], [a]) end,
            fun() -> py:call(math, sqrt, [16], [{a, 1} | b]) end,
            fun() -> py:call(math, sqrt, [16], #{1 => 2}) end,
            fun() -> py:call(math, sqrt, [16], #{}, 0) end,
            fun() -> py:call(math, sqrt, [16], #{}, -1) end,
            fun() -> py:call(math, sqrt, [16], #{}, 1.5) end,
            fun() -> py:call(math, sqrt, [16], #{}, soon) end,
            fun() -> py:eval(x) end,
            fun() -> py:eval(["x" | y]) end,
            fun() -> py:eval([1_000_000_000]) end,
            fun() -> py:eval(<<255>>) end,
            fun() -> py:eval("x", x) end,
            fun() -> py:eval("x", #{}, 0) end,
            fun() -> py:exec(x) end,
            fun() -> py:exec("1", 0) end,
            fun() -> py:cast(1, f, []) end,
            fun() -> py:cast(math, sqrt, 16) end,
            fun() -> py:cast(math, sqrt, [16], 1) end,
            fun() -> py:await(py:call_async(1, f, [])) end,
            fun() -> py:await(py:call_async(math, sqrt, 16)) end,
            fun() -> py:await(py:call_async(math, sqrt, [16], 1)) end,
            fun() -> py:await(Ref) end,
            fun() -> py:await(ref) end,
            fun() -> py:await(Ref, 0) end
        ])
    ],
    %% A timeout may be as large as you like.
    [
        begin
            ?assertEqual({ok, 4.0}, py:call(math, sqrt, [16], #{}, Huge)),
            ?assertEqual({ok, 1}, py:eval("1", #{}, Huge)),
            ?assertEqual(ok, py:exec("1", Huge)),
            ?assertEqual({ok, 4.0}, py:await(py:call_async(math, sqrt, [16]), Huge))
        end
     || Huge <- [(1 bsl 32) - 1, 1 bsl 32, 1 bsl 100]
    ].

dead_workers() ->
    Die = "__import__('os')._exit(1)",
    [
        ?assertMatch({Index, {error, {worker_down, _}}}, {Index, Call()})
     || {Index, Call} <- lists:enumerate([
            fun() -> py:call(os, '_exit', [1]) end,
            fun() -> py:call(os, '_exit', [], #{status => 1}, infinity) end,
            fun() -> py:eval(Die) end,
            fun() -> py:exec("import os, signal; os.kill(os.getpid(), signal.SIGKILL)") end,
            fun() -> py:await(py:call_async(os, '_exit', [1])) end,
            fun() -> py:async_await(py:async_call(os, '_exit', [1])) end,
            fun() -> py:async_gather([{math, sqrt, [16]}, {os, '_exit', [1]}]) end,
            fun() -> py:stream(os, '_exit', [1]) end,
            fun() -> py:stream_eval(["(", Die, " for _ in range(1))"]) end,
            fun() -> py:async_stream(os, '_exit', [1]) end
        ])
    ],
    ?assertMatch({ok, [{ok, 4.0}, {error, {worker_down, _}}]},
        py:parallel([{math, sqrt, [16]}, {os, '_exit', [1]}])),
    ok = py:cast(os, '_exit', [1]),
    py_test:whole(),
    ?assertEqual({ok, 1}, py:eval("1")).
