%% What concerns all workers: reload, environments, parallel calls, memory, interrupts.
-module(py_workers_tests).

-include_lib("eunit/include/eunit.hrl").

workers_test_() ->
    py_test:suite([
        {"reload/1 in idle, bound and busy workers", fun reload/0},
        {"reload/1 names the workers where it fails", fun reload_fails/0},
        {"activate_venv/1, venv_info/0, deactivate_venv/0", fun venv/0},
        {"add_path/1", fun add_path/0},
        {"parallel/1", fun parallel/0},
        {"parallel/1 runs in all workers at once", fun side_by_side/0},
        {"subinterp_supported/0, execution_mode/0, num_executors/0", fun modes/0},
        {"memory_stats/0, tracemalloc_start/0,1, tracemalloc_stop/0", fun memory/0},
        {"gc/0,1", fun gc/0},
        {"interrupt/1", fun interrupt/0},
        {"configure_logging/0,1", fun configure_logging/0},
        {"bad input", fun bad_input/0}
    ]).

write(Folder, Name, Text) ->
    File = filename:join(Folder, Name),
    ok = filelib:ensure_dir(File),
    ok = file:write_file(File, unicode:characters_to_binary(Text)).

in_all(Code) -> py_pool:broadcast({eval, Code}).

reload() ->
    py_test:folder(fun(Folder) ->
        write(Folder, "reloaded.py", "def version(): return 1\n"),
        ok = py:add_path(Folder),
        [{ok, none}, {ok, none}] = py_pool:broadcast({exec, "import reloaded"}),
        ok = py:bind(),
        ?assertEqual({ok, 1}, py:call(reloaded, version, [])),
        write(Folder, "reloaded.py", "def version(): return 2\n"),
        %% The other worker is busy, so it reloads when that is over.
        py_test:gate(),
        Test = self(),
        spawn_link(fun() -> Test ! {busy, py:eval("[erlang.gate(), __import__('reloaded').version()]")} end),
        Open = py_test:open_gate(),
        spawn_link(fun() -> Test ! {reloaded, py:reload(reloaded)} end),
        py_test:eventually(fun() -> py:call(reloaded, version, []) =:= {ok, 2} end),
        Open(),
        receive {busy, Busy} -> ?assertEqual({ok, [<<"open">>, 1]}, Busy) end,
        receive {reloaded, Result} -> ?assertEqual(ok, Result) end,
        ?assertEqual({ok, 2}, py:call(reloaded, version, [])),
        ok = py:unbind(),
        ?assertEqual([{ok, 2}, {ok, 2}], py_pool:broadcast({call, reloaded, version, []}))
    end).

reload_fails() ->
    py_test:folder(fun(Folder) ->
        write(Folder, "broken.py", "x = 1\n"),
        ok = py:add_path(Folder),
        [{ok, none}, {ok, none}] = py_pool:broadcast({exec, "import broken"}),
        write(Folder, "broken.py", "x = (\n"),
        ?assertMatch({error, [{1, {'SyntaxError', _}}, {2, {'SyntaxError', _}}]}, py:reload("broken")),
        %% With the old code kept.
        ?assertEqual([{ok, 1}, {ok, 1}], in_all("__import__('broken').x")),
        write(Folder, "broken.py", "x = 2\n"),
        ?assertEqual(ok, py:reload(<<"broken">>)),
        ?assertEqual([{ok, 2}, {ok, 2}], in_all("__import__('broken').x")),
        ?assertMatch({error, [{1, {'ModuleNotFoundError', _}}, {2, _}]}, py:reload(no_such_module)),
        %% One that is loaded nowhere has nothing to reload.
        write(Folder, "unused.py", "x = 1\n"),
        ?assertEqual(ok, py:reload(unused)),
        ?assertEqual([{ok, false}, {ok, false}], in_all("'unused' in __import__('sys').modules"))
    end).

venv() ->
    py_test:folder(fun(Folder) ->
        Path = filename:join(Folder, "größe"),
        {ok, none} = py:call(venv, create, [unicode:characters_to_binary(Path)]),
        [Packages] = filelib:wildcard(Path ++ "/lib/python*/site-packages"),
        write(Packages, "installed.py", "x = 1\n"),
        %% As an editable install has it.
        write(Folder, "source/editable.py", "x = 2\n"),
        write(Packages, "editable.pth", filename:join(Folder, "source") ++ "\n"),

        {ok, Before} = py:venv_info(),
        ?assertMatch(#{<<"active">> := false, <<"venv_path">> := none, <<"site_packages">> := none,
            <<"sys_path">> := [_ | _]}, Before),
        ?assertEqual(4, map_size(Before)),

        ?assertEqual(ok, py:activate_venv(Path)),
        Both = "[__import__('installed').x, __import__('editable').x]",
        ?assertEqual([{ok, [1, 2]}, {ok, [1, 2]}], in_all(Both)),
        %% And in a worker that starts later.
        py_test:kill_worker(),
        py_test:whole(),
        ?assertEqual([{ok, [1, 2]}, {ok, [1, 2]}], in_all(Both)),
        {ok, Info} = py:venv_info(),
        Active = unicode:characters_to_binary(Path),
        Site = unicode:characters_to_binary(Packages),
        ?assertMatch(#{<<"active">> := true, <<"venv_path">> := Active, <<"site_packages">> := Site}, Info),
        ?assert(lists:member(Site, maps:get(<<"sys_path">>, Info))),

        ?assertEqual({error, {invalid_venv, Folder}}, py:activate_venv(Folder)),
        ?assertEqual({error, {invalid_venv, <<"/no/such">>}}, py:activate_venv(<<"/no/such">>)),
        ?assertEqual({ok, Info}, py:venv_info()),

        ?assertEqual(ok, py:deactivate_venv()),
        ?assertEqual({ok, Before}, py:venv_info()),
        ?assertMatch([{error, {'ModuleNotFoundError', _}}], lists:usort(in_all("__import__('installed')"))),
        ?assertMatch([{error, {'ModuleNotFoundError', _}}], lists:usort(in_all("__import__('editable')"))),
        ?assertEqual(ok, py:deactivate_venv())
    end).

add_path() ->
    py_test:folder(fun(Folder) ->
        write(Folder, "added.py", "x = 3\n"),
        write(Folder, "more/further.py", "x = 4\n"),
        write(Folder, "more.pth", "more\n"),
        ?assertEqual(ok, py:add_path(Folder)),
        ?assertEqual(ok, py:add_path(list_to_binary(Folder))),
        Both = "[__import__('added').x, __import__('further').x]",
        ?assertEqual([{ok, [3, 4]}, {ok, [3, 4]}], in_all(Both)),
        py_test:kill_worker(),
        py_test:whole(),
        ?assertEqual([{ok, [3, 4]}, {ok, [3, 4]}], in_all(Both)),
        {ok, #{<<"sys_path">> := Path}} = py:venv_info(),
        ?assertEqual(1, length([P || P <- Path, P =:= list_to_binary(Folder)]))
    end).

parallel() ->
    ?assertEqual({ok, []}, py:parallel([])),
    ?assertEqual({ok, [{ok, float(N)} || N <- lists:seq(1, 50)]},
        py:parallel([{math, sqrt, [N * N]} || N <- lists:seq(1, 50)])),
    {ok, [Error, Named, {ok, Stream}, Unknown]} = py:parallel([
        {"math", <<"sqrt">>, [-1]},
        {builtins, sorted, [[1, 2]], #{reverse => true}},
        {builtins, iter, [[7]]},
        {no_such_module, f, []}
    ]),
    ?assertMatch({error, {'ValueError', _}}, Error),
    ?assertEqual({ok, [2, 1]}, Named),
    ?assertEqual({ok, 7}, py:stream_next(Stream)),
    ?assertEqual(ok, py:stream_close(Stream)),
    ?assertMatch({error, {'ModuleNotFoundError', _}}, Unknown).

%% Each call waits until all are in Python.
side_by_side() ->
    py_test:gate(),
    Test = self(),
    spawn_link(fun() -> Test ! {parallel, py:parallel([{os, getpid, []}, {erlang, gate, []}, {erlang, gate, []}])} end),
    Opens = [py_test:open_gate(), py_test:open_gate()],
    ?assertMatch(#{checked_out := 2}, py_pool:get_stats()),
    [Open() || Open <- Opens],
    receive {parallel, {ok, Results}} -> ?assertMatch([{ok, _}, {ok, <<"open">>}, {ok, <<"open">>}], Results) end.

modes() ->
    ?assertEqual(true, py:subinterp_supported()),
    ?assertEqual(2, py:num_executors()),
    {ok, Locked} = py:eval("getattr(__import__('sys'), '_is_gil_enabled', lambda: True)()"),
    Expected = case Locked of true -> multi_executor; false -> free_threaded end,
    ?assertEqual(Expected, py:execution_mode()).

memory() ->
    {ok, Stats} = py:memory_stats(),
    ?assertEqual([gc_count, gc_stats, gc_threshold], lists:sort(maps:keys(Stats))),
    #{gc_stats := Generations, gc_count := Count, gc_threshold := Threshold} = Stats,
    [
        ?assertMatch(
            #{<<"collections">> := A, <<"collected">> := B, <<"uncollectable">> := C} when
                is_integer(A + B + C),
            Generation
        )
     || Generation <- Generations
    ],
    ?assertEqual(3, tuple_size(Count)),
    ?assertEqual({ok, Threshold}, py:call(gc, get_threshold, [])),

    ?assertEqual(ok, py:tracemalloc_start()),
    ?assertEqual([{ok, true}, {ok, true}], in_all("__import__('tracemalloc').is_tracing()")),
    [{ok, none}, {ok, none}] = py_pool:broadcast({exec, "kept = bytes(1_000_000)"}),
    {ok, #{traced_memory_current := Current, traced_memory_peak := Peak}} = py:memory_stats(),
    ?assert(Current >= 2_000_000),
    ?assert(Peak >= Current),
    ?assertEqual(ok, py:tracemalloc_start(7)),
    ?assertEqual([{ok, 7}, {ok, 7}], in_all("__import__('tracemalloc').get_traceback_limit()")),
    ?assertEqual(ok, py:tracemalloc_stop()),
    ?assertEqual(ok, py:tracemalloc_stop()),
    {ok, After} = py:memory_stats(),
    ?assertEqual([gc_count, gc_stats, gc_threshold], lists:sort(maps:keys(After))).

gc() ->
    Rings = "import gc\ngc.disable()\nfor _ in range(100):\n    ring = []\n    ring.append(ring)\ndel ring",
    [{ok, none}, {ok, none}] = py_pool:broadcast({exec, Rings}),
    {ok, Collected} = py:gc(),
    ?assert(Collected >= 200),
    [?assertMatch({ok, N} when is_integer(N), py:gc(Generation)) || Generation <- [0, 1, 2]],
    [{ok, none}, {ok, none}] = py_pool:broadcast({exec, "gc.enable()"}).

interrupt() ->
    ?assertEqual(ok, py:interrupt(1)),
    Test = self(),
    Loop = "[erlang.send(test, 'in'), exec('while True: pass')]",
    Callers = [
        spawn_link(fun() -> Test ! {self(), py:eval(Loop, #{test => Test}, infinity)} end)
     || _ <- [1, 2]
    ],
    [receive <<"in">> -> ok end || _ <- Callers],
    ?assertEqual([ok, ok], [py:interrupt(Worker) || Worker <- [1, 2]]),
    [receive {Caller, Result} -> ?assertEqual({error, cancelled}, Result) end || Caller <- Callers],
    ?assertEqual({error, no_workers_available}, py:interrupt(3)).

%% What Python's root logger has, in all workers and in later ones.
configure_logging() ->
    Level = "__import__('logging').getLogger().level",
    ?assertEqual(ok, py:configure_logging()),
    ?assertEqual([{ok, 20}, {ok, 20}], in_all(Level)),
    ?assertEqual(ok, py:configure_logging(#{level => debug})),
    ?assertEqual(ok, py:configure_logging([{level, error}, {format, "%(name)s: %(message)s"}])),
    py_test:kill_worker(),
    py_test:whole(),
    ?assertEqual([{ok, 40}, {ok, 40}], in_all(Level)),
    ?assertEqual(ok, py:configure_logging(#{format => <<"%(message)s">>})),
    [
        ?assertEqual({Options, {error, invalid_args}}, {Options, py:configure_logging(Options)})
     || Options <- [debug, #{level => loud}, #{levels => info}, #{format => 1}, [level], [{level, info} | tail]]
    ].

bad_input() ->
    [
        ?assertEqual({Index, {error, invalid_args}}, {Index, Call()})
     || {Index, Call} <- lists:enumerate([
            fun() -> py:reload(1) end,
            fun() -> py:reload("") end,
            fun() -> py:activate_venv(1) end,
            fun() -> py:activate_venv("") end,
            fun() -> py:activate_venv(<<"a", 0>>) end,
            fun() -> py:add_path(1) end,
            fun() -> py:add_path(<<255>>) end,
            fun() -> py:add_path(<<0>>) end,
            fun() -> py:parallel(math) end,
            fun() -> py:parallel([math]) end,
            fun() -> py:parallel([{math, sqrt}]) end,
            fun() -> py:parallel([{math, sqrt, 16}]) end,
            fun() -> py:parallel([{math, sqrt, [16]} | tail]) end,
            fun() -> py:gc(-1) end,
            fun() -> py:gc(3) end,
            fun() -> py:gc(all) end,
            fun() -> py:tracemalloc_start(0) end,
            fun() -> py:tracemalloc_start(65_536) end,
            fun() -> py:tracemalloc_start(one) end,
            fun() -> py:interrupt(0) end,
            fun() -> py:interrupt(one) end
        ])
    ],
    ?assertEqual({ok, [{error, invalid_args}]}, py:parallel([{1, f, []}])),
    ?assertEqual({ok, [{error, invalid_args}]}, py:parallel([{math, sqrt, [16], 1}])),
    ?assertEqual({error, no_workers_available}, py:interrupt(1 bsl 100)).
