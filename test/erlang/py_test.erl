%% What the tests of the Erlang face share.
-module(py_test).

-include_lib("eunit/include/eunit.hrl").

-export([main/1, suite/1, suite/2, with_settings/2]).
-export([whole/0, eventually/1, gate/0, open_gate/0, folder/1, kill_worker/0, median/1]).

%% The tests of one module, in a node that is there for them alone.
main(Module) ->
    Status =
        case eunit:test(Module, [verbose]) of
            ok -> 0;
            error -> 1
        end,
    halt(Status).

suite(Tests) -> suite([{num_workers, 2}], Tests).

%% After each test nothing is left: no message, no binding, no request, and all workers are there.
suite(Settings, Tests) ->
    {setup, fun() -> start(Settings) end, fun(_) -> stop(Settings) end, [
        {Title, {timeout, 120, fun() -> check(Test) end}}
     || {Title, Test} <- Tests
    ]}.

check(Test) ->
    Test(),
    ?assertEqual({messages, []}, process_info(self(), messages)),
    ?assertNot(py:is_bound()),
    whole().

with_settings(Settings, Test) ->
    start(Settings),
    try
        Test()
    after
        stop(Settings)
    end.

start(Settings) ->
    application:load(erlang_python),
    [application:set_env(erlang_python, Key, Value) || {Key, Value} <- Settings],
    {ok, _} = application:ensure_all_started(erlang_python),
    ok.

stop(Settings) ->
    ok = application:stop(erlang_python),
    [application:unset_env(erlang_python, Key) || {Key, _Value} <- Settings],
    ok.

whole() ->
    eventually(fun() ->
        #{
            num_workers := N,
            available_workers := Available,
            checked_out := Busy,
            pending_requests := Pending
        } = py_pool:get_stats(),
        {N, 0, 0} =:= {Available, Busy, Pending} andalso py:num_executors() =:= N
    end).

%% For what sends no message when it changes. The limit is only reached when it never will.
eventually(Condition) -> eventually(Condition, 3000).

eventually(Condition, 0) ->
    ?assert(Condition());
eventually(Condition, Tries) ->
    case Condition() of
        true ->
            ok;
        false ->
            timer:sleep(10),
            eventually(Condition, Tries - 1)
    end.

%% Lets Python wait in `erlang.gate()` until the calling process opens it.
gate() ->
    Test = self(),
    ok = py:register_function(gate, fun([]) ->
        Test ! {gate, self()},
        receive
            go -> open
        end
    end).

%% Waits for somebody at the gate, and gives what lets him go on.
open_gate() ->
    receive
        {gate, Pid} -> fun() -> Pid ! go end
    end.

folder(Test) ->
    Name = "erlang_python_" ++ os:getpid() ++ integer_to_list(erlang:unique_integer([positive])),
    Folder = filename:join(os:getenv("TMPDIR", "/tmp"), Name),
    ok = file:make_dir(Folder),
    try
        Test(Folder)
    after
        ok = file:del_dir_r(Folder)
    end.

kill_worker() ->
    {error, {worker_down, _}} = py:exec("import os; os._exit(1)"),
    ok.

median(Numbers) -> lists:nth((length(Numbers) + 1) div 2, lists:sort(Numbers)).
