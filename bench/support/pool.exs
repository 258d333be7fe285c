defmodule Bench.Pool do
  @moduledoc false
  # Pools of the interpreter that the baselines have too.

  alias ErlangPython.Pool

  @code """
  def echo(value):
      return value


  def spin(rounds):
      total = 0
      for n in range(rounds):
          total += n
      return total
  """

  @doc "Runs `fun` with a pool of that name and stops the pool."
  @spec with_pool(atom(), keyword(), (... -> result)) :: result when result: var
  def with_pool(name, options \\ [], fun) do
    start(name, options)
    result = fun.()
    Pool.stop(name)
    result
  end

  @spec start(atom(), keyword()) :: :ok
  def start(name, options \\ []) do
    defaults = [name: name, python: Bench.Baseline.python(), preload: [{:code, @code}]]
    {:ok, _pid} = Pool.start_link(Keyword.merge(defaults, options))
    :ok
  end

  @doc "A call that must succeed."
  @spec call!(atom(), atom(), atom(), list()) :: term()
  def call!(pool, module, function, args \\ []) do
    {:ok, value} = ErlangPython.call(module, function, args, pool: pool)
    value
  end
end
