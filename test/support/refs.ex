defmodule ErlangPython.TestRefs do
  @moduledoc false
  # Objects that stay in Python, and what is kept for them.

  import ExUnit.Assertions
  import ErlangPython.PoolCase, only: [eventually: 1]

  alias ErlangPython.Pool
  alias ErlangPython.Pool.Handle

  def keep!(code, pool, bindings \\ %{}),
    do: ErlangPython.eval!(code, bindings, pool: pool, return: :ref)

  @doc "Waits until neither side keeps anything for a Ref of the pool."
  def none_kept(pool) do
    {:ok, handle} = Handle.fetch(pool)
    eventually(fn -> assert {:ets.info(handle.refs, :size), kept(pool)} == {0, 0} end)
    eventually(fn -> assert :ets.info(handle.pending, :size) == 0 end)
  end

  @doc "How many objects the workers keep, asked in them."
  def kept(pool) do
    code = "len(__import__('erlang_python_worker._kept', fromlist=['*']).kept)"
    {:ok, results} = Pool.broadcast(pool, {:eval, code})

    Enum.sum(
      for {_worker, result} <- results do
        assert {:ok, count} = result
        count
      end
    )
  end
end
