%% A worker to yourself: names that stay from one call to the next.
-module(context_affinity).

-export([main/0]).

main() ->
    io:format("A call goes to any worker: the names of one may not be there for the next.~n"),
    io:format("A process that is bound has a worker to itself:~n"),
    ok = py:bind(),
    ok = py:exec(
        "total = 0\n"
        "def add(n):\n"
        "    global total\n"
        "    total += n\n"
        "    return total\n"
    ),
    Totals = [Total || N <- [1, 2, 3], {ok, Total} <- [py:call('__main__', add, [N])]],
    io:format("  running totals: ~w~n", [Totals]),
    ok = py:unbind(),
    {error, {'NameError', Message}} = py:eval("total"),
    io:format("  after unbind: ~s~n", [Message]),

    io:format("~nFor the time of a function:~n"),
    {ok, Mean} = py:with_context(fun() ->
        ok = py:exec("import statistics\nseen = [2, 4, 9]"),
        py:eval("statistics.mean(seen)")
    end),
    io:format("  the mean is ~p~n", [Mean]),

    io:format("~nTwo processes, two workers, one name:~n"),
    Self = self(),
    Pids = [spawn_link(fun() -> player(Self, Name) end) || Name <- [<<"Ada">>, <<"Bob">>]],
    [receive {Pid, ready} -> ok end || Pid <- Pids],
    [Pid ! look || Pid <- Pids],
    [
        receive
            {Pid, Name, {ok, Seen}} ->
                Name = Seen,
                io:format("  ~s finds ~s~n", [Name, Seen])
        end
     || Pid <- Pids
    ],

    io:format("~nA context that is passed around:~n"),
    {ok, Ctx} = py:bind(new),
    ok = py:ctx_exec(Ctx, "log = []"),
    {ok, none} = py:ctx_call(Ctx, '__main__', 'log.append', [<<"from main">>]),
    Helper = spawn_link(fun() ->
        {ok, none} = py:ctx_call(Ctx, '__main__', 'log.append', [<<"from a helper">>]),
        Self ! {self(), done}
    end),
    receive {Helper, done} -> ok end,
    {ok, Log} = py:ctx_eval(Ctx, "log"),
    io:format("  ~p~n", [Log]),
    ok = py:unbind(Ctx),
    try
        py:ctx_eval(Ctx, "log")
    catch
        error:context_not_bound -> io:format("  released: context_not_bound~n")
    end,

    io:format("~nThe worker of a process that dies is free again:~n"),
    {Owner, Monitor} = spawn_monitor(fun() ->
        ok = py:bind(),
        Self ! bound,
        receive never -> ok end
    end),
    receive bound -> ok end,
    io:format("  bound: ~p of ~p workers free~n", free()),
    exit(Owner, kill),
    receive {'DOWN', Monitor, process, Owner, killed} -> ok end,
    await_all_free(),
    io:format("  killed: ~p of ~p workers free~n", free()).

player(Main, Name) ->
    ok = py:bind(),
    ok = py:exec(["name = '", Name, "'"]),
    Main ! {self(), ready},
    receive look -> ok end,
    Seen = py:eval("name"),
    %% A process that ends gives its worker back too, but a little after its last message.
    ok = py:unbind(),
    Main ! {self(), Name, Seen}.

free() ->
    #{available_workers := Free, num_workers := All} = py_pool:get_stats(),
    [Free, All].

await_all_free() ->
    case free() of
        [All, All] ->
            ok;
        _not_yet ->
            timer:sleep(5),
            await_all_free()
    end.
