defmodule ErlangPython.BadInputTest do
  # Every public function, with each of its arguments replaced by what is none. It may return, or raise an `ArgumentError` that says
  # what is wrong or an `ErlangPython.Error`; never another exception, and it never hangs.
  #
  # Not async: it changes the default pool, the state and what is registered.
  use ErlangPython.PoolCase, async: false

  alias ErlangPython.{Context, Ref, State}

  @moduletag timeout: 300_000
  @patience_ms 60_000

  setup_all do
    names = ErlangPython.registered()
    start_supervised!({Pool, name: :bad_input, workers: 2, stdout: :ignore, python: python()})

    on_exit(fn ->
      Enum.each(ErlangPython.registered() -- names, &ErlangPython.unregister/1)
      State.clear()
      :py_semaphore.set_max_concurrent(2 * System.schedulers_online() + 1)
      # With the folders and settings that it replays.
      Pool.stop(:default)
    end)
  end

  defp python, do: ErlangPython.TestPython.executable()

  defp wrong do
    [
      nil,
      :no_such_name,
      1,
      -1,
      2 ** 100,
      1.5,
      "",
      "a\0b",
      <<255>>,
      <<1::3>>,
      String.duplicate("x", 1_000_000),
      [1 | 2],
      [{:a, 1} | 2],
      [nil],
      [{:a}],
      [{"a", 1}],
      [no_such_option: 1],
      %{1 => 2},
      %{<<255>> => 1},
      {1, 2},
      ~D[2026-01-01],
      self(),
      make_ref(),
      fn -> 1 end,
      fn _, _, _ -> 1 end
    ]
  end

  # A function, and arguments with which it works.
  defp elixir(context, ref) do
    p = [pool: :bad_input]
    fun = fn -> 1 end

    [
      {ErlangPython, :call, ["math", "sqrt", [1], p]},
      {ErlangPython, :call!, ["math", "sqrt", [1], p]},
      {ErlangPython, :eval, ["1", %{a: 1}, p]},
      {ErlangPython, :eval!, ["1", %{a: 1}, p]},
      {ErlangPython, :exec, ["1", %{a: 1}, p]},
      {ErlangPython, :exec!, ["1", %{a: 1}, p]},
      {ErlangPython, :run, ["1", %{a: 1}, p]},
      {ErlangPython, :run!, ["1", %{a: 1}, p]},
      {ErlangPython, :stream, ["builtins", "range", [1], p]},
      {ErlangPython, :stream_eval, ["[1]", %{}, p]},
      {ErlangPython, :async, ["math", "sqrt", [1], p]},
      {ErlangPython, :cast, ["math", "sqrt", [1], p]},
      {ErlangPython, :map, [[1], "math", "sqrt", p]},
      {ErlangPython, :register, ["bad_input", fun, []]},
      {ErlangPython, :unregister, ["bad_input"]},
      {ErlangPython, :reload, ["json", p]},
      {ErlangPython, :info, [p]},
      {ErlangPython, :bind, [p]},
      {ErlangPython, :with_context, [fun, p]},
      {ErlangPython, :iterator, [[1]]},
      {ErlangPython, :bytes, ["x"]},
      {ErlangPython, :float, [1.5]},
      {Context, :open, [p]},
      {Context, :close, [context]},
      {Context, :alive?, [context]},
      {Ref, :get, [ref, "__class__.__name__", []]},
      {Ref, :get!, [ref, "__class__.__name__", []]},
      {Ref, :call, [ref, "__len__", [], []]},
      {Ref, :call!, [ref, "__len__", [], []]},
      {Ref, :value, [ref, []]},
      {Ref, :value!, [ref, []]},
      {Ref, :release, [ref]},
      {State, :get, ["key", nil]},
      {State, :put, ["key", 1]},
      {State, :delete, ["key"]},
      {State, :incr, ["counter", 1]},
      {State, :decr, ["counter", 1]},
      {ErlangPython.Env, :build, [ErlangPython.Env.system()]},
      {ErlangPython.Env, :requirements, [["six"], []]},
      {ErlangPython.Env, :uv, ["pyproject.toml"]},
      {ErlangPython.Env, :venv, [".venv"]},
      {ErlangPython.Tensor, :to_nx, [%ErlangPython.Tensor{dtype: "<i1", shape: {0}, data: ""}]},
      {ErlangPython.Tensor, :to_list, [%ErlangPython.Tensor{dtype: "<i1", shape: {0}, data: ""}]},
      {ErlangPython.Arrow, :to_explorer, [""]},
      {Pool, :child_spec, [[name: :bad_input_other]]},
      {Pool, :start_link, [[name: :bad_input]]},
      {Pool, :stats, [:bad_input]},
      {Pool, :workers, [:bad_input]},
      {Pool, :broadcast, [:bad_input, {:eval, "1"}, []]},
      {Pool, :scale, [:bad_input, 2]},
      {Pool, :restart, [:bad_input]},
      {Pool, :stacks, [:bad_input, 1, 5_000]},
      {Pool, :interrupt, [:bad_input, 1]},
      {Pool, :stop, [:bad_input_none, 1_000]}
    ]
  end

  # Of options: each known one with each wrong value.
  defp with_options do
    keys = [:pool, :context, :timeout, :kwargs, :return, :progress, :traceparent]
    p = [pool: :bad_input]

    Enum.concat([
      for(key <- keys, do: {ErlangPython, :call, ["math", "sqrt", [1]], p, key}),
      for(key <- keys, do: {ErlangPython, :async, ["math", "sqrt", [1]], p, key}),
      for(key <- [:file, :line, :display], do: {ErlangPython, :run, ["1", %{}], p, key}),
      for(key <- [:pool, :timeout, :deep], do: {ErlangPython, :reload, ["json"], p, key}),
      for(
        key <- [:args, :max_concurrency, :ordered, :on_error],
        do: {ErlangPython, :map, [[1], "math", "sqrt"], p, key}
      ),
      for(key <- [:pool, :mode, :timeout], do: {Context, :open, [], p, key}),
      for(
        key <- [:timeout, :kwargs, :replay],
        do: {Pool, :broadcast, [:bad_input, {:call, "math", "sqrt", [1]}], [], key}
      ),
      for(
        key <-
          [:workers, :python, :venv, :env, :cd, :paths, :preload, :grace, :heartbeat, :window] ++
            [:max_overflow, :max_queue, :max_concurrent, :max_requests, :max_memory, :reload] ++
            [:max_message_size, :start_timeout, :stdout, :stdin, :endpoint, :channel, :lazy],
        do: {Pool, :child_spec, [], [name: :bad_input_other], key}
      )
    ])
  end

  defp erlang do
    call = [:math, :sqrt, [1]]
    locals = %{a: 1}
    calls = [{:math, :sqrt, [1]}]
    {:ok, stream} = :py.eval("iter([1])")

    [
      {:py, :call, call ++ [%{}, 5_000]},
      {:py, :eval, ["1", locals, 5_000]},
      {:py, :exec, ["1", 5_000]},
      {:py, :cast, call ++ [%{}]},
      {:py, :call_async, call ++ [%{}]},
      {:py, :await, [make_ref(), 5_000]},
      {:py, :stream, [:builtins, :range, [1], %{}]},
      {:py, :stream_eval, ["iter([1])", locals]},
      {:py, :stream_start, [:builtins, :range, [1], %{}]},
      {:py, :stream_cancel, [make_ref()]},
      {:py, :stream_next, [stream, 5_000]},
      {:py, :stream_close, [stream]},
      {:py, :async_call, call ++ [%{}]},
      {:py, :async_await, [make_ref(), 5_000]},
      {:py, :async_gather, [calls]},
      {:py, :async_stream, [:builtins, :range, [1], %{}]},
      {:py, :bind, [:new]},
      {:py, :unbind, [nil]},
      {:py, :with_context, [fn -> 1 end]},
      {:py, :ctx_call, [nil | call] ++ [%{}, 5_000]},
      {:py, :ctx_eval, [nil, "1", locals, 5_000]},
      {:py, :ctx_exec, [nil, "1", 5_000]},
      {:py, :state_store, [:key, :value]},
      {:py, :state_fetch, [:key]},
      {:py, :state_remove, [:key]},
      {:py, :state_incr, [:counter, 1]},
      {:py, :state_decr, [:counter, 1]},
      {:py, :register_function, ["bad_input", fn [] -> 1 end]},
      {:py, :register_function, ["bad_input", :erlang, :hd]},
      {:py, :unregister_function, ["bad_input"]},
      {:py, :reload, [:json]},
      {:py, :parallel, [calls]},
      {:py, :interrupt, [1]},
      {:py, :gc, [2]},
      {:py, :tracemalloc_start, [1]},
      {:py, :activate_venv, ["no_such"]},
      {:py, :add_path, ["no_such"]},
      {:py, :configure_logging, [%{level: :info}]},
      {:py_pool, :request, [{:stream_eval, make_ref(), self(), "iter([1])", %{}}]},
      {:py_pool, :broadcast, [{:eval, "1"}]},
      {:py_semaphore, :acquire, [1_000]},
      {:py_semaphore, :set_max_concurrent, [100]}
    ]
  end

  # What it comes to, in a process of its own. A stream is run, a task is awaited.
  defp outcome(function) do
    task =
      Task.async(fn ->
        try do
          case function.() do
            %Task{} = task -> Task.await(task, :infinity)
            stream when is_function(stream, 2) -> Enum.take(stream, 1)
            other -> other
          end

          :returned
        rescue
          error -> error
        catch
          kind, reason -> {kind, reason}
        end
      end)

    case Task.yield(task, @patience_ms) || Task.shutdown(task, :brutal_kill) do
      {:ok, outcome} -> outcome
      nil -> :hangs
      {:exit, reason} -> {:exit, reason}
    end
  end

  defp replaced({module, function, args}) do
    for at <- Enum.to_list(0..(length(args) - 1)//1),
        wrong <- wrong(),
        do: {module, function, List.replace_at(args, at, wrong)}
  end

  defp with_wrong_option({module, function, args, options, key}) do
    for wrong <- wrong(),
        do: {module, function, args ++ [Keyword.put(options, key, wrong)]}
  end

  defp check(cases, allowed) do
    bad =
      for {module, function, args} <- cases,
          outcome = outcome(fn -> apply(module, function, args) end),
          not allowed?(outcome, allowed),
          do: {module, function, Enum.map(args, &shown/1), outcome}

    assert bad == []
  end

  defp allowed?(:returned, _allowed), do: true
  defp allowed?(%type{}, allowed), do: type in allowed
  defp allowed?(_hangs_or_exits, _allowed), do: false

  defp shown(text) when is_binary(text) and byte_size(text) > 100, do: :a_long_text
  defp shown(other), do: other

  # What the caller's own function for `:args`, or its own enumerable, raises.
  defp own?({ErlangPython, :map, [elements, _module, _function, options]}) do
    (is_list(elements) and List.improper?(elements)) or
      (Keyword.keyword?(options) and is_function(options[:args]))
  end

  defp own?(_other), do: false

  test "of Elixir's functions" do
    {:ok, context} = Context.open(pool: :bad_input, mode: :shared)
    ref = ErlangPython.eval!("[1]", %{}, pool: :bad_input, return: :ref)
    good = elixir(context, ref)

    for {module, function, args} <- good,
        do: assert({function, length(args)} in module.__info__(:functions))

    cases =
      Enum.reject(
        Enum.flat_map(good, &replaced/1) ++ Enum.flat_map(with_options(), &with_wrong_option/1),
        &own?/1
      )

    # A term that can't be enumerated.
    check(cases, [ArgumentError, Error, Protocol.UndefinedError])
    atoms = :erlang.system_info(:atom_count)
    check(cases, [ArgumentError, Error, Protocol.UndefinedError])
    assert :erlang.system_info(:atom_count) == atoms
    Context.close(context)
    Pool.scale(:bad_input, 2)
    await_whole(:bad_input, 2)
    assert ErlangPython.eval("1", %{}, pool: :bad_input) == {:ok, 1}
  end

  test "of Erlang's functions" do
    cases = erlang()
    # All that take arguments, but for the shorter forms of the same name.
    longest = fn functions -> for {name, arity} <- functions, arity > 0, uniq: true, do: name end

    for module <- [:py, :py_pool, :py_semaphore] do
      listed = for {^module, name, _args} <- cases, uniq: true, do: name

      own =
        [:start_link, :init, :handle_call, :handle_info, :handle_cast, :code_change] ++
          [:child_spec, :terminate]

      assert longest.(module.__info__(:functions)) -- (own ++ listed) == []
    end

    wrong = Enum.flat_map(cases, &replaced/1)
    check(wrong, [])
    atoms = :erlang.system_info(:atom_count)
    check(wrong, [])
    assert :erlang.system_info(:atom_count) == atoms
    :ok = :py.tracemalloc_stop()
    await_whole(:default, 2)
    assert :py.eval("1") == {:ok, 1}
  end
end
