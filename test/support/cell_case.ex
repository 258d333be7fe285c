defmodule ErlangPython.CellCase do
  @moduledoc false
  # For tests of cells, as a notebook runs them. `~PY` is read as `python ~S` where Elixir does not know it
  # (Notebook.readable/1).

  use ExUnit.CaseTemplate

  import ErlangPython.PoolCase

  alias ErlangPython.{Context, Notebook}

  using do
    quote do
      import ErlangPython.{CellCase, PoolCase}
      alias ErlangPython.{Error, Notebook, Pool}
    end
  end

  setup do
    pool = start_pool(workers: 1)
    # What `~PY` finds where no pool is named.
    :ok = ErlangPython.bind(pool: pool, mode: :shared)

    dictionary = for {{Context.Binding, _} = key, value} <- Process.get(), do: {key, value}

    {:ok, pool: pool, notebook: %{Notebook.new() | dictionary: dictionary}}
  end

  @doc "Runs cells; gives their values and the notebook after them."
  def values(notebook, cells) do
    cells
    |> Enum.with_index(1)
    |> Enum.map_reduce(notebook, fn {code, number}, notebook ->
      Notebook.run(notebook, code, file: "notebook.livemd#cell:#{number}")
    end)
  end

  @doc "Runs cells; gives their values."
  def cells(notebook, cells), do: notebook |> values(cells) |> elem(0)

  @doc "A cell of Python."
  def py(code), do: ~s(~PY"""\n#{code}\n""")
end
