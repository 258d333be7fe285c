defmodule ErlangPython.LibrariesTest do
  # Values of the real libraries (requirements/libraries.lock); dataframes have a test of their own.
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Cell.Object
  alias ErlangPython.{Notebook, Tensor}

  @python Path.expand("../../.cache/libraries/bin/python", __DIR__)

  # The libraries take their time to load.
  @timeout 120_000

  setup_all do
    {:ok, pool: start_pool(workers: 1, python: @python)}
  end

  defp run(pool, code, bindings \\ %{}),
    do: ErlangPython.run(code, bindings, pool: pool, timeout: @timeout)

  defp message({:error, %Error{kind: :encode} = error}), do: Exception.message(error)

  describe "arrays of other libraries than NumPy" do
    test "are tensors", %{pool: pool} do
      code = "import array_api_strict\narray_api_strict.asarray([[1.5, 2.0], [3.0, 4.0]])"
      assert {:ok, %Tensor{dtype: "<f8", shape: {2, 2}} = tensor} = run(pool, code)
      assert Tensor.to_list(tensor) == [[1.5, 2.0], [3.0, 4.0]]

      large = "import array_api_strict\n{'it': array_api_strict.ones((1000, 1000))}"
      assert {:ok, %{"it" => %Tensor{shape: {1000, 1000}} = tensor}} = run(pool, large)
      assert byte_size(tensor.data) == 8_000_000
    end

    test "with floats that NumPy lacks have 32 bits", %{pool: pool} do
      for dtype <- ~w(bfloat16 float8_e5m2 float8_e4m3) do
        code =
          "import ml_dtypes, numpy\nnumpy.array([1.5, -0.25, float('inf')], dtype=ml_dtypes.#{dtype})"

        assert {:ok, %Tensor{dtype: "<f4", shape: {3}} = tensor} = run(pool, code)
        assert Tensor.to_list(tensor) == [1.5, -0.25, :infinity]
      end
    end

    test "come by DLPack alone, if there is no other way", %{pool: pool} do
      code = """
      import numpy

      class Only:
          def __init__(self, array): self.array = array
          def __dlpack__(self, **options): return self.array.__dlpack__(**options)
          def __dlpack_device__(self): return self.array.__dlpack_device__()

      [Only(numpy.ones(2)), {"it": Only(numpy.arange(2))}]
      """

      assert {:ok, [one, %{"it" => two}]} = run(pool, code)
      assert {Tensor.to_list(one), Tensor.to_list(two)} == {[1.0, 1.0], [0, 1]}
    end

    test "that a device can't give are an error of their library", %{pool: pool} do
      code = """
      import array_api_strict
      [1, array_api_strict.asarray([1.0], device=array_api_strict.Device('device1'))]
      """

      assert message(run(pool, code)) =~
               ~r/result\[1\]: cannot make a NumPy array of a 'array_api_strict.*': .*device1/

      assert run(pool, "1 + 1") == {:ok, 2}
    end

    test "stay in Python where a cell assigns them" do
      pool = start_pool(workers: 1, python: @python)
      :ok = ErlangPython.bind(pool: pool, mode: :shared)

      dictionary =
        for {{ErlangPython.Context.Binding, _} = key, value} <- Process.get(), do: {key, value}

      code =
        "~PY\"\"\"\nimport array_api_strict\narray = array_api_strict.ones(3)\nsize = array.size\n\"\"\""

      {_value, notebook} =
        Notebook.run(%{Notebook.new() | dictionary: dictionary}, code,
          file: "notebook.livemd#cell:1"
        )

      {value, _notebook} = Notebook.run(notebook, "{array, size}", file: "notebook.livemd#cell:2")

      assert {%Object{}, 3} = value
    end
  end

  describe "classes that only hold data" do
    test "of attrs, msgspec and pydantic are maps, within each other too", %{pool: pool} do
      code = """
      import attrs, msgspec, pydantic

      @attrs.define
      class Shop:
          name: str

      class Item(msgspec.Struct):
          price: float
          tags: "set[str]" = set()

      class Order(pydantic.BaseModel):
          number: int
          lines: list

      class Orders(pydantic.BaseModel):
          orders: "list[Order]"
      Orders.model_rebuild()

      [Shop("corner"), Item(2.5), Orders(orders=[Order(number=7, lines=[Item(1.0), Shop("a")])])]
      """

      item = &%{"price" => &1, "tags" => MapSet.new()}
      shop = &%{"name" => &1}
      order = %{"number" => 7, "lines" => [item.(1.0), shop.("a")]}

      assert run(pool, code) == {:ok, [shop.("corner"), item.(2.5), %{"orders" => [order]}]}
    end

    test "are what an encoder of the user's makes of them", %{pool: pool} do
      code = """
      import erlang, pydantic

      class Point(pydantic.BaseModel):
          x: int

      class Named(Point):
          name: str

      erlang.register_encoder(Named, lambda named: named.name)
      [Point(x=1), Named(x=1, name="origin")]
      """

      assert run(pool, code) == {:ok, [%{"x" => 1}, "origin"]}
    end

    test "tell where something stands in them that can't be sent", %{pool: pool} do
      code = """
      import pydantic

      class Secret(pydantic.BaseModel):
          password: pydantic.SecretStr

      {"it": [Secret(password="hush")]}
      """

      message = message(run(pool, code))
      assert message =~ "cannot send a value of type 'pydantic.types.SecretStr' to Elixir"
      assert message =~ ~s(result["it"][0]["password"])
      refute message =~ "hush"
    end
  end

  describe "rows of databases" do
    test "of SQLAlchemy are tuples, or maps if asked for", %{pool: pool} do
      code = """
      import sqlalchemy
      engine = sqlalchemy.create_engine("sqlite://")
      query = sqlalchemy.text("select 1 as number, 'one' as name union select 2, 'two'")
      with engine.connect() as connection:
          rows = connection.execute(query).all()
          maps = connection.execute(query).mappings().all()
      [rows, maps]
      """

      rows = [{1, "one"}, {2, "two"}]
      maps = for {number, name} <- rows, do: %{"number" => number, "name" => name}
      assert run(pool, code) == {:ok, [rows, maps]}
    end

    test "of sqlite3 with names are maps", %{pool: pool} do
      code = """
      import sqlite3
      connection = sqlite3.connect(":memory:")
      connection.row_factory = sqlite3.Row
      connection.execute("select 1 as number, 'one' as name").fetchall()
      """

      assert run(pool, code) == {:ok, [%{"number" => 1, "name" => "one"}]}
    end
  end

  describe "what has no form is an error that says what to do" do
    test "with a method that the type has", %{pool: pool} do
      for {value, advice} <- [
            {"pyarrow.array([1, None])", "return its .to_pylist(), keep it"},
            {"pyarrow.chunked_array([[1]])", "return its .to_pylist(), keep it"},
            {"pandas.Series([1])", "return its .tolist() or .to_dict(), keep it"},
            {"pandas.Index([1])", "return its .tolist(), keep it"},
            {"polars.Series([1])",
             "return its .to_list(), show it in a cell or by display: true"},
            {"polars.LazyFrame({'n': [1]})", "return its .collect(), keep it"},
            {"sqlalchemy.text('select 1')", "return plain data, keep it"},
            {"type('Column', (), {'tolist': list})()", "return its .tolist(), keep it"},
            {"type('Config', (), {'to_dict': dict})()", "return its .to_dict(), keep it"},
            {"type('Table', (), {'to_dict': dict, '_repr_html_': str})()",
             "return its .to_dict(), show it in a cell or by display: true, keep it"},
            {"type('Picture', (), {'_repr_png_': bytes})()",
             "return plain data, show it in a cell or by display: true, keep it"}
          ] do
        code = "import pandas, polars, pyarrow, sqlalchemy\n" <> value
        assert message(run(pool, code)) =~ advice
      end
    end
  end
end
