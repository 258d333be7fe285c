defmodule ErlangPython.MessagePack.PythonTest do
  # Through the other language and back, with the worker's own codec in a plain Python process.
  use ExUnit.Case, async: true

  import ErlangPython.Property

  alias ErlangPython.{Bytes, MessagePack, Tensor, TestPython, TestTerms}

  @worker Path.expand("../../../priv/python", __DIR__)
  @python_tests Path.expand("../../../python_tests", __DIR__)

  setup do
    port =
      Port.open({:spawn_executable, TestPython.executable()}, [
        :binary,
        packet: 4,
        args: [Path.expand("echo.py", __DIR__), @worker]
      ])

    %{port: port}
  end

  @tag :proper
  test "any term comes back as it went out", %{port: port} do
    check(TestTerms.term(), 300, fn term -> through(port, term) === {:ok, term} end)
  end

  test "pids, ports, references and functions are handed back", %{port: port} do
    for term <- [self(), port, make_ref(), &Enum.map/2, fn -> port end, %{self() => [self()]}],
        do: assert(through(port, term) == {:ok, term})
  end

  test "large data goes out of band, both ways", %{port: port} do
    text = String.duplicate("é", 40_000)
    data = :binary.copy(<<0xFF, 0>>, 40_000)
    term = %{"text" => text, "data" => [data, %Bytes{data: text}, text], "small" => "x"}

    assert through(port, term) == {:ok, %{term | "data" => [data, text, text]}}
  end

  test "a binary's type in Python does not depend on its size", %{port: port} do
    for size <- [1, 65_535, 65_536],
        data <- [:binary.copy("x", size), :binary.copy(<<0xFF>>, size)],
        term <- [data, %Bytes{data: data}],
        do: assert(through(port, [term, "é"]) == {:ok, [data, "é"]})
  end

  test "tensors of every size come back with type, shape and data", %{port: port} do
    for {dtype, size} <- [{"<f8", 8}, {"|u1", 1}, {"<i4", 4}, {"<c16", 16}, {"|b1", 1}],
        shape <- [{}, {0}, {3}, {2, 3}, {100, 100}] do
      count = shape |> Tuple.to_list() |> Enum.product()
      tensor = %Tensor{dtype: dtype, shape: shape, data: :binary.copy(<<1>>, count * size)}
      assert through(port, [tensor]) == {:ok, [tensor]}
    end
  end

  test "empty bytes are no marker", %{port: port} do
    for term <- [%Bytes{data: ""}, [%Bytes{data: ""}], {%Bytes{data: ""}, <<0xFF>>}],
        do: assert({:ok, _term} = through(port, term))
  end

  test "NaN and the infinities come back as atoms", %{port: port} do
    names = [:nan, :infinity, :neg_infinity]
    assert through(port, Enum.map(names, &%ErlangPython.Float{value: &1})) == {:ok, names}
  end

  test "any value of Python comes back through Elixir as docs/types.md says" do
    port =
      Port.open({:spawn_executable, TestPython.executable()}, [
        :binary,
        packet: 4,
        args: [Path.expand("through_elixir.py", __DIR__), @worker, @python_tests]
      ])

    assert serve(port, 0) > 100
  end

  defp serve(port, count) do
    assert_receive {^port, {:data, packet}}, 60_000

    if packet == "ok" do
      count
    else
      case MessagePack.decode(packet) do
        {:ok, term} ->
          {:ok, body, []} = MessagePack.encode(term)
          Port.command(port, body)
          serve(port, count + 1)

        # A failure's text is no body; what is one and can't be decoded fails here too.
        {:error, error} ->
          flunk("#{Exception.message(error)}: #{inspect(packet, printable_limit: :infinity)}")
      end
    end
  end

  defp through(port, term) do
    {:ok, body, buffers} = MessagePack.encode(term)

    true =
      Port.command(
        port,
        for(frame <- [body | buffers], do: [<<IO.iodata_length(frame)::32>>, frame])
      )

    assert_receive {^port, {:data, packet}}, 60_000

    case for <<size::32, frame::binary-size(size) <- packet>>, do: frame do
      ["", reason] -> {:error, reason}
      [body | buffers] -> MessagePack.decode(body, buffers)
    end
  end
end
