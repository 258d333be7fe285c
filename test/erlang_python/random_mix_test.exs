defmodule ErlangPython.RandomMixTest do
  # Everything at once. A random *plan* is a tree whose parts are carried out by Elixir and Python in turn, in each way in
  # which the one can get the other to do something; a few lines of Elixir (`expect/1`) know what must come out. Many
  # callers carry out plans at once: first with nothing in the way, where each answer must be the one expected; then
  # among deadlines, dying callers, killed and restarted workers, where it may also be a failure that tells of one of
  # these, through any number of levels. In the end nothing is left over.
  #
  # RANDOM_MIX_SEED repeats a run, as far as the machine's timing lets it; RANDOM_MIX_SECONDS is how long it takes. `make random-mix` runs it alone.
  use ErlangPython.PoolCase, async: false

  alias ErlangPython.Callbacks.Running
  alias ErlangPython.Context
  alias ErlangPython.Pool.{Directory, Handle, Slots}

  @moduletag :random_mix
  @moduletag timeout: 600_000

  @python Path.expand("../fixtures/random_mix", __DIR__)
  @workers 3
  @callers 10
  # Nothing takes that long unless it hangs: what does is shown after a part of it.
  @patience 60_000
  @suspicious 20_000

  defmodule Planned do
    defexception [:n]
    @impl true
    def message(%{n: n}), do: "planned #{n}"
  end

  test "a random mix of all ways to call, fail and end gives the right answers, and leaves nothing" do
    seed = setting("RANDOM_MIX_SEED", System.os_time(:microsecond))
    ms = 1_000 * setting("RANDOM_MIX_SECONDS", 60)
    IO.puts("random mix: RANDOM_MIX_SEED=#{seed}")

    # Whatever is started from here on has this group leader, and is found by it.
    {:ok, leader} = StringIO.open("")
    Process.group_leader(self(), leader)
    pool = unique_name()

    {:ok, supervisor} =
      Pool.start_link(
        name: pool,
        workers: @workers,
        grace: 500,
        paths: [@python],
        python: ErlangPython.TestPython.executable(),
        stdout: :ignore
      )

    register(pool)
    on_exit(fn -> Enum.each(names(), &ErlangPython.unregister/1) end)

    mix(pool, {seed, :warm}, div(ms, 20), :none)
    before = left(pool)
    mix(pool, {seed, :calm}, div(ms * 4, 10), :none)
    mix(pool, {seed, :rough}, div(ms * 5, 10), :all)
    # Whole again: no answer but the right one.
    mix(pool, {seed, :after}, div(ms, 20), :none)

    eventually(fn ->
      now = left(pool)

      assert now.exact == before.exact,
             "seed #{seed}: before #{inspect(before.exact)}, now #{inspect(now.exact)}:\n" <>
               inspect(for(pid <- led_by(leader), do: Process.info(pid)), limit: :infinity)

      for {what, count} <- now.python, do: assert(count <= limit(what), "#{what}, seed #{seed}")
    end)

    assert {:messages, []} = Process.info(self(), :messages)
    Supervisor.stop(supervisor)
    eventually(fn -> assert led_by(leader) == [self()] end)
  end

  defp setting(name, default) do
    case System.get_env(name) do
      nil -> default
      text -> String.to_integer(text)
    end
  end

  # --- Elixir's part

  defp names,
    do: for(suffix <- ["", "_function", "_killed", "_elements"], do: "random_mix" <> suffix)

  defp register(pool) do
    env = fn mark -> %{pool: pool, context: nil, mark: mark} end
    :ok = ErlangPython.register(:random_mix, fn plan, mark -> run(plan, env.(mark)) end)

    :ok =
      ErlangPython.register(:random_mix_function, fn ->
        fn plan, mark -> run(plan, env.(mark)) end
      end)

    :ok = ErlangPython.register(:random_mix_killed, fn -> Process.exit(self(), :kill) end)

    :ok =
      ErlangPython.register(:random_mix_elements, fn plans, _mark ->
        ErlangPython.iterator(Stream.map(plans, &run(&1, env.("any"))))
      end)
  end

  defp run(["value", n], _env), do: n
  defp run(["fail", n], _env), do: raise(Planned, n: n)

  defp run(["attempt", plan], env) do
    run(plan, env)
  rescue
    error in Planned -> error.n
  end

  defp run(["pause", ms], _env) do
    Process.sleep(ms)
    0
  end

  defp run(["in_sequence", plans], env),
    do: Enum.reduce(plans, 0, fn plan, sum -> sum + run(plan, env) end)

  defp run(["down", how, plan], env), do: down(how, plan, env)

  defp run(["fan", _how, plans], env) do
    env = elsewhere(env)

    plans
    |> Enum.map(&Task.async(fn -> caught(fn -> down("run", &1, env) end) end))
    |> Task.await_many(:infinity)
    |> Enum.map(fn
      {:ok, n} -> n
      {:raised, error} -> raise error
    end)
    |> Enum.sum()
  end

  defp run(["stream", how, plans, count], env) do
    function = if how == "async", do: :each_async, else: :each
    mark = if env.context, do: env.mark, else: "any"

    :random_plans
    |> ErlangPython.stream(function, [plans, mark], options(env))
    |> Enum.take(count)
    |> Enum.sum()
  rescue
    error in Error -> raise planned(error)
  end

  defp run(["read", how, plans, count], env) do
    elements = ErlangPython.iterator(Stream.map(plans, &run(&1, elsewhere(env))))

    :random_plans
    |> ErlangPython.call(:take, [env.mark, how, elements, count], options(env))
    |> value!()
  end

  defp run(["context", mode, plan], env) do
    case Context.open(pool: env.pool, mode: String.to_existing_atom(mode)) do
      {:ok, context} ->
        try do
          in_context(plan, context, env)
        after
          Context.close(context)
        end

      {:error, %Error{kind: :no_workers}} ->
        # All workers are set aside, also for those who wait here.
        down("run", plan, env)

      {:error, error} ->
        raise error
    end
  end

  defp in_context(plan, context, env) do
    mark = context.id
    opts = [context: context, timeout: @patience]

    case ErlangPython.exec("mark = #{mark}", %{}, opts) do
      :ok -> down("run", plan, %{env | context: context, mark: mark})
      {:error, error} -> raise error
    end
  end

  # Another process than the callback's: its calls go to any worker.
  defp elsewhere(%{context: nil} = env), do: %{env | mark: "any"}
  defp elsewhere(env), do: env

  defp options(%{context: nil, pool: pool}), do: [pool: pool, timeout: @patience]
  defp options(%{context: context}), do: [context: context, timeout: @patience]

  defp down("call", plan, env),
    do: :random_plans |> ErlangPython.call(:do, [plan, env.mark], options(env)) |> value!()

  defp down("async", plan, env),
    do: :random_plans |> ErlangPython.call(:do_async, [plan, env.mark], options(env)) |> value!()

  defp down("eval", plan, env) do
    code =
      "[__import__('random_plans').check(globals(), mark_), __import__('random_plans').do(plan, mark_)][1]"

    code |> ErlangPython.eval(bindings(plan, env), options(env)) |> value!()
  end

  defp down("await", plan, env) do
    code =
      "import random_plans\nrandom_plans.check(globals(), mark_)\nawait random_plans.do_async(plan, mark_)"

    code |> ErlangPython.run(bindings(plan, env), options(env)) |> value!()
  end

  # "run", and the ways that Python has.
  defp down(_other, plan, env) do
    code =
      "import random_plans\nrandom_plans.check(globals(), mark_)\nrandom_plans.do(plan, mark_)"

    code |> ErlangPython.run(bindings(plan, env), options(env)) |> value!()
  end

  defp bindings(plan, env), do: %{plan: plan, mark_: env.mark}

  defp value!({:ok, value}), do: value
  defp value!({:error, error}), do: raise(planned(error))

  defp caught(fun) do
    {:ok, fun.()}
  rescue
    error -> {:raised, error}
  end

  # The planned failure, on its way up; any other as it is.
  defp planned(%Error{kind: :python, type: "random_plans.Planned", message: n}),
    do: %Planned{n: String.to_integer(n)}

  defp planned(%Error{kind: :elixir, details: %{reason: %Planned{} = planned}}), do: planned
  defp planned(%Error{} = error), do: error

  # --- what must come out

  defp expect([kind, n]) when kind in ["value", "killed"], do: {:ok, n}
  defp expect(["fail", n]), do: {:raised, n}
  defp expect(["attempt", plan]), do: {:ok, plan |> expect() |> elem(1)}
  defp expect(["pause", _ms]), do: {:ok, 0}
  defp expect(["down", _how, plan]), do: expect(plan)
  defp expect(["context", _mode, plan]), do: expect(plan)
  defp expect(["fan", _how, plans]), do: first(plans)
  defp expect(["in_sequence", plans]), do: first(plans)
  defp expect(["stream", _how, plans, count]), do: plans |> Enum.take(count) |> first()
  defp expect(["read", _how, plans, count]), do: plans |> Enum.take(count) |> first()

  # All there is, or what the first that fails does.
  defp first(plans) do
    Enum.reduce_while(plans, {:ok, 0}, fn plan, {:ok, sum} ->
      case expect(plan) do
        {:ok, n} -> {:cont, {:ok, sum + n}}
        raised -> {:halt, raised}
      end
    end)
  end

  # --- plans

  @how %{
    elixir: ["call", "eval", "run", "await", "async"],
    python: ["name", "attribute", "function", "loop"]
  }
  @fan %{elixir: ["tasks"], python: ["threads", "pool", "loop"]}
  @read ["for", "thread", "loop"]

  defp plan(side, depth) when depth <= 0, do: leaf(side)

  defp plan(side, depth) do
    other = if side == :elixir, do: :python, else: :elixir

    case :rand.uniform(if(side == :elixir, do: 20, else: 16)) do
      n when n in 1..2 ->
        leaf(side)

      n when n in 3..8 ->
        ["down", Enum.random(@how[side]), plan(other, depth - 1)]

      n when n in 9..10 ->
        ["in_sequence", plans(side, depth - 1, 3)]

      n when n in 11..12 ->
        ["attempt", plan(side, depth - 1)]

      n when n in 13..14 ->
        ["fan", Enum.random(@fan[side]), plans(other, depth - 2, 4)]

      n when n in 15..16 and side == :python ->
        read(:elixir, depth)

      n when n in 15..16 ->
        read(:elixir, depth)

      n when n in 17..18 ->
        stream(depth)

      n when n in 19..20 ->
        ["context", Enum.random(["dedicated", "shared"]), plan(:python, depth - 1)]
    end
  end

  defp read(elements, depth) do
    plans = plans(elements, depth - 2, 5)
    ["read", Enum.random(@read), plans, :rand.uniform(length(plans) + 1) - 1]
  end

  defp stream(depth) do
    plans = plans(:python, depth - 2, 5)
    ["stream", Enum.random(["sync", "async"]), plans, :rand.uniform(length(plans) + 1) - 1]
  end

  defp plans(side, depth, most), do: for(_ <- 1..:rand.uniform(most), do: plan(side, depth))

  defp leaf(side) do
    case :rand.uniform(12) do
      3 when side == :python -> ["killed", :rand.uniform(1_000)]
      1 -> ["fail", :rand.uniform(1_000)]
      2 -> ["pause", :rand.uniform(5)]
      _ -> ["value", :rand.uniform(1_000)]
    end
  end

  # --- callers

  defp mix(pool, seed, ms, faults) do
    until = System.monotonic_time(:millisecond) + ms
    trouble = Task.async(fn -> if faults == :all, do: trouble(pool, seed, until) end)

    1..@callers
    |> Enum.map(fn caller ->
      Task.async(fn -> turns(pool, seed, caller, 1, until, faults) end)
    end)
    |> Task.await_many(:infinity)

    Task.await(trouble, :infinity)
  end

  defp turns(pool, {number, phase} = seed, caller, turn, until, faults) do
    if System.monotonic_time(:millisecond) < until do
      # So that one turn can be repeated without those before it.
      :rand.seed(:exsss, {number, :erlang.phash2({phase, caller}), turn})
      plan = plan(:elixir, 2 + :rand.uniform(5))

      what =
        if faults == :none, do: :plain, else: Enum.random([:plain, :plain, :deadline, :killed])

      {got, ms} = timed(fn -> watched(pool, plan, fn -> attempt(what, plan, pool) end) end)
      expected = expect(plan)

      assert right?(got, expected) or (faults == :all and fault?(got, what)),
             "seed #{number}, #{phase}, caller #{caller}, turn #{turn}, #{what}, #{ms} ms:\n" <>
               "#{inspect(plan, limit: :infinity)}\nexpected #{inspect(expected)}, got #{shown(got)}"

      assert {:messages, []} = Process.info(self(), :messages)
      turns(pool, seed, caller, turn + 1, until, faults)
    end
  end

  defp shown({:raised, %Error{} = error}) do
    text = error |> Exception.message() |> String.slice(0, 2_000)
    "#{error.kind} #{error.type}: #{text}\n#{inspect(error.details)}"
  end

  defp shown(other), do: inspect(other)

  defp timed(fun) do
    {us, got} = :timer.tc(fun)
    {got, div(us, 1_000)}
  end

  defp watched(pool, plan, fun) do
    {:ok, watch} =
      :timer.apply_after(@suspicious, __MODULE__, :show_state, [
        pool,
        plan,
        Process.group_leader()
      ])

    try do
      fun.()
    after
      :timer.cancel(watch)
    end
  end

  @doc "What hangs, and where."
  def show_state(pool, plan, leader) do
    {:ok, handle} = Handle.fetch(pool)
    rows = fn table -> handle |> Map.fetch!(table) |> :ets.tab2list() end

    slots =
      for slot <- 1..Slots.count(handle)//1 do
        %{
          slot: slot,
          in_flight: Slots.in_flight(handle, slot),
          window: Slots.window(handle, slot),
          beside: Slots.beside(handle, slot),
          callbacks: Slots.callbacks(handle, slot),
          parents: Running.parents(handle, slot),
          stacks: Pool.stacks(pool, slot)
        }
      end

    processes =
      for pid <- led_by(leader),
          do: {pid, Process.info(pid, [:current_stacktrace, :messages, :dictionary])}

    state = %{
      plan: plan,
      slots: slots,
      pending: rows.(:pending),
      queue: rows.(:queue),
      streams: rows.(:streams),
      contexts: rows.(:contexts),
      running: :ets.tab2list(Running),
      processes: processes
    }

    # Not by the captured group leader: for whoever runs the test.
    IO.puts(:standard_error, inspect(state, limit: :infinity, printable_limit: 200, pretty: true))
  end

  defp attempt(:plain, plan, pool),
    do: caught(fn -> run(plan, %{pool: pool, context: nil, mark: "any"}) end)

  defp attempt(:deadline, plan, pool) do
    env = %{pool: pool, context: nil, mark: "any"}
    timeout = Enum.random([1, 5, 20, 100])
    opts = [pool: pool, timeout: timeout]
    code = "import random_plans\nrandom_plans.do(plan, 'any')"

    caught(fn ->
      code |> ErlangPython.run(bindings(["down", "name", plan], env), opts) |> value!()
    end)
  end

  defp attempt(:killed, plan, pool) do
    {pid, ref} = spawn_monitor(fn -> exit({:got, attempt(:plain, plan, pool)}) end)
    ms = :rand.uniform(30)

    receive do
      {:DOWN, ^ref, _, _, {:got, got}} -> got
    after
      ms ->
        Process.exit(pid, :kill)

        receive do
          {:DOWN, ^ref, _, _, {:got, got}} -> got
          {:DOWN, ^ref, _, _, :killed} -> :killed
        end
    end
  end

  defp right?({:ok, n}, {:ok, n}), do: true
  defp right?({:raised, %Planned{n: n}}, {:raised, n}), do: true
  defp right?(_got, _expected), do: false

  defp fault?(:killed, _what), do: true

  # Of those that have a deadline, at any level below it.
  defp fault?({:raised, %Error{kind: :timeout}}, what), do: what == :deadline

  defp fault?({:raised, %Error{kind: kind}}, _what) when kind in [:worker_exit, :context_lost],
    do: true

  defp fault?({:raised, %Error{kind: :elixir, details: details}}, what) do
    case details do
      %{kind: :error, reason: %Error{} = error} -> fault?({:raised, error}, what)
      # Of a callback that was stopped with its request, or whose iterator was.
      %{kind: :exit, reason: reason} -> reason in [:cancelled, :killed, :the_iterator_has_ended]
      _other -> false
    end
  end

  defp fault?({:raised, %Error{kind: :python, type: type}}, _what),
    do: type in ["erlang.Interrupted", "asyncio.exceptions.CancelledError", "ConnectionError"]

  defp fault?(_other, _what), do: false

  # --- trouble

  defp trouble(pool, {number, _phase} = seed, until) do
    :rand.seed(:exsss, {number, 0, 0})
    trouble(pool, seed, until, [])
  end

  defp trouble(pool, seed, until, _done) do
    if System.monotonic_time(:millisecond) < until do
      case :rand.uniform(6) do
        1 -> Pool.restart(pool)
        2 -> Pool.scale(pool, :rand.uniform(@workers + 1))
        _ -> kill(pool)
      end

      Process.sleep(:rand.uniform(500))
      trouble(pool, seed, until, [])
    else
      Pool.scale(pool, @workers)
    end
  end

  defp kill(pool) do
    with [_ | _] = workers <-
           for(%{os_pid: pid} when is_integer(pid) <- Pool.workers(pool), do: pid) do
      # It may have gone since.
      System.cmd("kill", ["-9", "#{Enum.random(workers)}"], stderr_to_stdout: true)
    end
  end

  # --- what is left

  defp left(pool) do
    {:ok, handle} = Handle.fetch(pool)
    await_whole(pool, @workers)
    # What hangs in cycles, such as an iterator in the frames of an exception.
    {:ok, _results} = Pool.broadcast(pool, {:exec, "import gc\ngc.collect()"})

    eventually(fn ->
      assert Running.parents(handle, 1) == []

      assert for(table <- [:pending, :queue, :streams, :contexts], do: size(handle, table)) == [
               0,
               0,
               0,
               0
             ]

      assert size(handle, :callers) <= 1

      for slot <- 1..Slots.count(handle)//1 do
        assert {Slots.callbacks(handle, slot), Slots.beside(handle, slot),
                Slots.in_flight(handle, slot)} ==
                 {0, 0, 0}
      end
    end)

    leader = Process.group_leader()
    processes = led_by(leader)
    channels = for slot <- 1..@workers, do: channels(handle, slot)

    ports =
      for port <- Port.list(),
          {:connected, pid} <- [Port.info(port, :connected)],
          pid in processes,
          do: port

    workers = Pool.workers(pool)

    %{
      # A channel has a reader and a writer, and a socket.
      exact: %{
        processes: length(processes) - 2 * Enum.sum(channels),
        ports: length(ports) - Enum.sum(channels),
        tables: Enum.count(:ets.all(), &(:ets.info(&1, :owner) in processes)),
        files: length(File.ls!(Directory.folder(handle)))
      },
      python: [
        channels: Enum.max(channels),
        descriptors: workers |> Enum.map(&count(&1, "fd")) |> Enum.max(),
        threads: workers |> Enum.map(&count(&1, "task")) |> Enum.max()
      ]
    }
  end

  # The main and the control channel, four spare threads, the loop, and its executor's threads
  # (as many as there are cores, and four).
  defp limit(:channels), do: 2 + 4 + 1 + System.schedulers_online() + 4
  # Main, control, parent, loop.
  defp limit(:threads), do: 4 + 4 + System.schedulers_online() + 4
  defp limit(:descriptors), do: limit(:channels) + 15

  defp size(handle, table), do: handle |> Map.fetch!(table) |> :ets.info(:size)

  defp led_by(leader) do
    for pid <- Process.list(),
        {:group_leader, ^leader} <- [Process.info(pid, :group_leader)],
        do: pid
  end

  defp channels(handle, slot) do
    {_generation, worker, _writer} = Directory.worker(handle, slot)
    map_size(:sys.get_state(worker).readers)
  end

  defp count(%{os_pid: os_pid}, what) do
    case File.ls("/proc/#{os_pid}/#{what}") do
      {:ok, entries} -> length(entries)
      {:error, _reason} -> 0
    end
  end
end
