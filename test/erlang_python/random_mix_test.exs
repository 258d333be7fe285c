defmodule ErlangPython.RandomMixTest do
  # Everything at once. A random *plan* is a tree whose parts are carried out by Elixir and Python in turn, in each way in
  # which the one can get the other to do something; a few lines of Elixir (`Plans.expect/1`) know what must come out.
  # Many callers carry out plans at once: first with nothing in the way, where each answer must be the one expected;
  # then among deadlines, dying callers, killed and restarted workers, where it may also be a failure that tells of one
  # of these, through any number of levels. In the end nothing is left over. The parts are in test/support/random_mix.
  #
  # RANDOM_MIX_SEED repeats a run, as far as the machine's timing lets it; RANDOM_MIX_SECONDS is how long it takes.
  # `make random-mix` runs it alone.
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.RandomMix.{ElixirPart, Leftovers, Outcome, Plans, Report, Trouble}

  @moduletag :random_mix
  @moduletag timeout: 600_000

  @python Path.expand("../fixtures/random_mix", __DIR__)
  @callers 10

  test "a random mix of all ways to call, fail and end gives the right answers, and leaves nothing" do
    seed = setting("RANDOM_MIX_SEED", System.os_time(:microsecond))
    ms = 1_000 * setting("RANDOM_MIX_SECONDS", 60)
    :rand.seed(:exsss, seed)
    workers = Enum.random([1, 2, 3, 3])
    window = Enum.random([:auto, :auto, 1, 16])
    extra = Enum.random([0, 0, 2])
    IO.puts("random mix: RANDOM_MIX_SEED=#{seed}, #{workers}+#{extra} workers, window #{window}")

    # Whatever is started from here on has this group leader, and is found by it.
    {:ok, leader} = StringIO.open("")
    Process.group_leader(self(), leader)
    pool = unique_name()

    {:ok, supervisor} =
      Pool.start_link(
        name: pool,
        workers: workers,
        window: window,
        max_overflow: extra,
        grace: 500,
        paths: [@python],
        python: ErlangPython.TestPython.executable(),
        stdout: :ignore
      )

    ElixirPart.register(pool)
    on_exit(fn -> Enum.each(ElixirPart.names(), &ErlangPython.unregister/1) end)

    mix(pool, workers, {seed, :warm}, div(ms, 20), :none)
    before = eventually(fn -> Leftovers.left(pool, workers) end)
    mix(pool, workers, {seed, :calm}, div(ms * 4, 10), :none)
    mix(pool, workers, {seed, :rough}, div(ms * 5, 10), :all)
    # Whole again: no answer but the right one.
    mix(pool, workers, {seed, :after}, div(ms, 20), :none)

    eventually(fn ->
      now = Leftovers.left(pool, workers)

      assert now.exact == before.exact,
             "seed #{seed}: before #{inspect(before.exact)}, now #{inspect(now.exact)}:\n" <>
               inspect(for(pid <- Leftovers.led_by(leader), do: Process.info(pid)),
                 limit: :infinity
               )

      for {what, count} <- now.python,
          do: assert(count <= Leftovers.limit(what), "#{what}, seed #{seed}")
    end)

    assert {:messages, []} = Process.info(self(), :messages)
    Supervisor.stop(supervisor)
    eventually(fn -> assert Leftovers.led_by(leader) == [self()] end)
  end

  defp setting(name, default) do
    case System.get_env(name) do
      nil -> default
      text -> String.to_integer(text)
    end
  end

  defp mix(pool, workers, {number, _phase} = seed, ms, faults) do
    until = System.monotonic_time(:millisecond) + ms

    trouble =
      Task.async(fn -> if faults == :all, do: Trouble.make(pool, workers, number, until) end)

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
      plan = Plans.plan(:elixir, 2 + :rand.uniform(5))

      what =
        if faults == :none, do: :plain, else: Enum.random([:plain, :plain, :deadline, :killed])

      {got, ms} = timed(fn -> Report.watched(pool, plan, fn -> attempt(what, plan, pool) end) end)
      expected = Plans.expect(plan)

      assert Outcome.right?(got, expected) or (faults == :all and Outcome.fault?(got, what)),
             "seed #{number}, #{phase}, caller #{caller}, turn #{turn}, #{what}, #{ms} ms:\n" <>
               "#{inspect(plan, limit: :infinity)}\nexpected #{inspect(expected)}, got #{Outcome.shown(got)}"

      assert {:messages, []} = Process.info(self(), :messages)
      turns(pool, seed, caller, turn + 1, until, faults)
    end
  end

  defp timed(fun) do
    {us, got} = :timer.tc(fun)
    {got, div(us, 1_000)}
  end

  defp attempt(:plain, plan, pool),
    do: ElixirPart.caught(fn -> ElixirPart.run(plan, env(pool)) end)

  defp attempt(:deadline, plan, pool) do
    opts = [pool: pool, timeout: Enum.random([1, 5, 20, 100])]
    code = "import random_plans\nrandom_plans.do(plan, 'any')"
    bindings = ElixirPart.bindings(["down", "name", plan], env(pool))
    ElixirPart.caught(fn -> code |> ErlangPython.run(bindings, opts) |> ElixirPart.value!() end)
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

  defp env(pool), do: %{pool: pool, context: nil, mark: "any"}
end
