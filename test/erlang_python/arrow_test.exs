defmodule ErlangPython.ArrowTest do
  # Dataframes of the real libraries (requirements/libraries.lock).
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.{Arrow, Context, Notebook}
  alias ErlangPython.Cell.Object

  @python Path.expand("../../.cache/libraries/bin/python", __DIR__)

  # The libraries take their time to load, and several are in one test.
  @timeout 120_000

  @make %{
    "pandas" => "import pandas\npandas.DataFrame({'n': [1, 2, 3], 'name': ['a', 'b', None]})",
    "polars" => "import polars\npolars.DataFrame({'n': [1, 2, 3], 'name': ['a', 'b', None]})",
    "pyarrow" => "import pyarrow\npyarrow.table({'n': [1, 2, 3], 'name': ['a', 'b', None]})",
    "a batch of pyarrow" =>
      "import pyarrow\npyarrow.record_batch({'n': [1, 2, 3], 'name': ['a', 'b', None]})"
  }

  setup_all do
    {:ok, pool: start_pool(workers: 1, python: @python)}
  end

  defp run(pool, code, bindings \\ %{}),
    do: ErlangPython.run(code, bindings, pool: pool, timeout: @timeout)

  for {library, make} <- @make do
    test "of #{library} come back as a stream that makes a table", %{pool: pool} do
      assert {:ok, stream} = run(pool, unquote(make))
      # A message that continues, as the format has it.
      assert <<0xFFFFFFFF::32, _size::32-little, _rest::binary>> = stream

      code = "[type(table).__name__, table.to_pylist()]"
      rows = for {n, name} <- [{1, "a"}, {2, "b"}, {3, nil}], do: %{"n" => n, "name" => name}
      assert run(pool, code, %{table: %Arrow{stream: stream}}) == {:ok, ["Table", rows]}
    end
  end

  test "are streams within other values", %{pool: pool} do
    code = "import pandas\n[pandas.DataFrame({'n': [1]}), {'it': pandas.DataFrame({'n': [2]})}]"
    assert {:ok, [one, %{"it" => two}]} = run(pool, code)

    assert run(pool, "[t['n'][0].as_py() for t in ts]", %{
             ts: [%Arrow{stream: one}, %Arrow{stream: two}]
           }) ==
             {:ok, [1, 2]}
  end

  test "have their index as a column, unless that only counts", %{pool: pool} do
    for {index, names} <- [{"None", ["n"]}, {"pandas.Index(['a'], name='key')", ["n", "key"]}] do
      code = "import pandas\npandas.DataFrame({'n': [1]}, index=#{index})"
      assert {:ok, stream} = run(pool, code)
      assert run(pool, "t.column_names", %{t: %Arrow{stream: stream}}) == {:ok, names}
    end
  end

  test "are no lazy ones, and no series", %{pool: pool} do
    for code <- ["polars.LazyFrame({'n': [1]})", "polars.Series([1])"] do
      assert {:error, %Error{kind: :encode} = error} = run(pool, "import polars\n" <> code)
      assert Exception.message(error) =~ "return its ."
    end
  end

  test "of many rows travel beside the message, both ways", %{pool: pool} do
    assert {:ok, stream} = run(pool, "import pandas\npandas.DataFrame({'n': range(1_000_000)})")
    assert byte_size(stream) > 8_000_000
    code = "[len(table), int(table.to_pandas()['n'].sum())]"

    assert run(pool, code, %{table: %Arrow{stream: stream}}) ==
             {:ok, [1_000_000, 499_999_500_000]}
  end

  test "are polars' where there is no pyarrow; pandas needs it" do
    pool =
      start_pool(
        workers: 1,
        python: @python,
        preload: [{:code, "import sys\nsys.modules['pyarrow'] = None"}]
      )

    assert {:ok, stream} = run(pool, @make["polars"])
    code = "[type(table).__module__.split('.')[0], table['n'].to_list()]"
    assert run(pool, code, %{table: %Arrow{stream: stream}}) == {:ok, ["polars", [1, 2, 3]]}

    assert {:error, %Error{kind: :encode} = error} = run(pool, @make["pandas"])
    assert Exception.message(error) =~ "this Python has no pyarrow; install it"
    assert run(pool, "1 + 1") == {:ok, 2}
  end

  test "that no library can read are an error, and so are those that can't be written", %{
    pool: pool
  } do
    assert {:error, %Error{kind: :decode} = error} =
             run(pool, "t", %{t: %Arrow{stream: "rubbish"}})

    assert Exception.message(error) =~ "no Arrow stream"

    for library <- ["pandas", "polars"] do
      mixed = "import #{library}\n#{library}.DataFrame({'n': [object(), object()], 'm': [1, 2]})"
      assert {:error, %Error{kind: :encode} = error} = run(pool, mixed)
      assert Exception.message(error) =~ "cannot write a dataframe as Arrow"
    end

    assert {:error, %Error{kind: :encode}} = run(pool, "t", %{t: %Arrow{stream: :no}})
    assert run(pool, "1 + 1") == {:ok, 2}
  end

  test "need pyarrow or polars in Python" do
    assert {:error, %Error{kind: :decode} = error} =
             ErlangPython.eval("t", t: %Arrow{stream: "x"})

    assert Exception.message(error) =~ "neither pyarrow nor polars"
  end

  test "stay in Python where a cell assigns them", %{pool: pool} do
    :ok = ErlangPython.bind(pool: pool, mode: :shared)
    dictionary = for {{Context.Binding, _} = key, value} <- Process.get(), do: {key, value}
    notebook = %{Notebook.new() | dictionary: dictionary}

    code =
      "~PY\"\"\"\nimport pandas\nframe = pandas.DataFrame({'n': [4]})\nrows = len(frame)\n\"\"\""

    {_value, notebook} = Notebook.run(notebook, code, file: "notebook.livemd#cell:1")
    {value, _notebook} = Notebook.run(notebook, "{frame, rows}", file: "notebook.livemd#cell:2")
    assert {%Object{}, 1} = value
  end

  test "Explorer is no dependency" do
    refute Code.ensure_loaded?(Explorer.DataFrame)
    assert_raise ArgumentError, ~r/Explorer is not among/, fn -> Arrow.to_explorer("") end
  end
end
