defmodule ErlangPython.CallbackCase do
  @moduledoc false
  # For tests in which Python calls Elixir. What a test registers goes with it: names are the node's, so these tests
  # are not async.

  use ExUnit.CaseTemplate

  import ErlangPython.PoolCase

  alias ErlangPython.Callbacks.Running
  alias ErlangPython.Pool
  alias ErlangPython.Pool.{Handle, Slots}

  using do
    quote do
      import ErlangPython.{CallbackCase, PoolCase}
      alias ErlangPython.{Error, Pool}
    end
  end

  setup do
    # Examples elsewhere leave theirs.
    unregister_all()
    on_exit(&unregister_all/0)
  end

  defp unregister_all, do: Enum.each(ErlangPython.registered(), &ErlangPython.unregister/1)

  def register(name, function, opts \\ []), do: :ok = ErlangPython.register(name, function, opts)

  @doc "Runs code that has `erlang` imported."
  def run(pool, code, bindings \\ %{}, opts \\ []),
    do: ErlangPython.run("import erlang\n" <> code, bindings, [pool: pool] ++ opts)

  def run!(pool, code, bindings \\ %{}, opts \\ []) do
    {:ok, value} = run(pool, code, bindings, opts)
    value
  end

  @doc "The type and the text of what Python caught."
  def caught(pool, expression, bindings \\ %{}) do
    run!(
      pool,
      """
      try:
          #{expression}
          out = "nothing"
      except Exception as error:
          out = (type(error).__name__, str(error))
      out
      """,
      bindings
    )
  end

  @doc "Waits until no callback and no request is open in the pool."
  def await_nothing_left(pool) do
    {:ok, handle} = Handle.fetch(pool)

    eventually(fn ->
      assert Running.count() == 0
      assert :ets.info(handle.pending, :size) == 0

      for slot <- 1..Slots.count(handle)//1 do
        assert Slots.callbacks(handle, slot) == 0
        assert Slots.beside(handle, slot) == 0
        assert Slots.in_flight(handle, slot) == 0
      end
    end)
  end

  @doc "The process of a pool's one worker, or of its first."
  def os_pid(pool), do: hd(Pool.workers(pool)).os_pid
end
