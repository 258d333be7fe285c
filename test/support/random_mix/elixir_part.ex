defmodule ErlangPython.RandomMix.ElixirPart do
  @moduledoc false
  # Carries out Elixir's parts of plans, in each way in which Elixir can get Python to do something.

  alias ErlangPython.{Context, Error}

  # Nothing takes that long unless it hangs.
  @patience 60_000

  defmodule Planned do
    defexception [:n]
    @impl true
    def message(%{n: n}), do: "planned #{n}"
  end

  @doc "Registers the functions by which Python's parts call Elixir's."
  def register(pool) do
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

  @doc "What `register/1` has registered."
  def names,
    do: for(suffix <- ["", "_function", "_killed", "_elements"], do: "random_mix" <> suffix)

  @doc "The value of a plan, whose calls go into the pool and the context of `env`."
  def run(["value", n], _env), do: n
  def run(["fail", n], _env), do: raise(Planned, n: n)

  def run(["attempt", plan], env) do
    run(plan, env)
  rescue
    error in Planned -> error.n
  end

  def run(["pause", ms], _env) do
    Process.sleep(ms)
    0
  end

  def run(["in_sequence", plans], env),
    do: Enum.reduce(plans, 0, fn plan, sum -> sum + run(plan, env) end)

  def run(["down", how, plan], env), do: down(how, plan, env)

  def run(["fan", how, plans], env) do
    env = elsewhere(env)

    plans
    |> Enum.map(fn plan -> fn -> caught(fn -> down("run", plan, env) end) end end)
    |> all(how)
    |> Enum.map(fn
      {:ok, n} -> n
      {:raised, error} -> raise error
    end)
    |> Enum.sum()
  end

  def run(["stream", how, plans, count], env) do
    function = if how == "async", do: :each_async, else: :each
    mark = if env.context, do: env.mark, else: "any"

    :random_plans
    |> ErlangPython.stream(function, [plans, mark], options(env))
    |> Enum.take(count)
    |> Enum.sum()
  rescue
    error in Error -> raise planned(error)
  end

  def run(["read", how, plans, count], env) do
    elements = ErlangPython.iterator(Stream.map(plans, &run(&1, elsewhere(env))))

    :random_plans
    |> ErlangPython.call(:take, [env.mark, how, elements, count], options(env))
    |> value!()
  end

  def run(["context", mode, plan], env) do
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

  defp all(functions, "tasks"),
    do: functions |> Enum.map(&Task.async/1) |> Task.await_many(:infinity)

  # Processes of which nobody knows for whom they work, as servers that callbacks ask.
  defp all(functions, "strangers") do
    asker = self()

    functions
    |> Enum.map(fn function ->
      ref = make_ref()
      spawn_link(fn -> send(asker, {ref, function.()}) end)
      ref
    end)
    |> Enum.map(fn ref ->
      receive do
        {^ref, result} -> result
      end
    end)
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

  # By an object that stays in Python meanwhile.
  defp down("ref", plan, env) do
    kept = [return: :ref] ++ options(env)
    ref = :random_plans |> ErlangPython.call(:Kept, [plan], kept) |> value!()
    :random_plans |> ErlangPython.call(:do_kept, [ref, env.mark], options(env)) |> value!()
  end

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

  @doc "What the code that carries out a plan in Python needs."
  def bindings(plan, env), do: %{plan: plan, mark_: env.mark}

  def value!({:ok, value}), do: value
  def value!({:error, error}), do: raise(planned(error))

  def caught(fun) do
    {:ok, fun.()}
  rescue
    error -> {:raised, error}
  end

  # The planned failure, on its way up; any other as it is.
  defp planned(%Error{kind: :python, type: "random_plans.Planned", message: n}),
    do: %Planned{n: String.to_integer(n)}

  defp planned(%Error{kind: :elixir, details: %{reason: %Planned{} = planned}}), do: planned
  defp planned(%Error{} = error), do: error
end
