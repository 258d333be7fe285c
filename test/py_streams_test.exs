defmodule PyStreamsTest do
  # The streams of the Erlang face, in the pool :default.
  use ErlangPython.PoolCase, async: true

  alias ErlangPython.Pool.Handle

  @moduletag :tmp_dir

  # Leaves a file when it is closed.
  @numbers """
  def numbers(closed, count=10**9):
      import pathlib
      try:
          yield from range(count)
      finally:
          pathlib.Path(closed).touch()
  """

  # In each worker, whichever takes it.
  setup_all do
    {:ok, _} = :py.eval("1")
    folder = Path.join(System.tmp_dir!(), "py_streams_#{System.unique_integer([:positive])}")
    File.mkdir_p!(folder)
    File.write!(Path.join(folder, "py_streams_numbers.py"), @numbers)
    on_exit(fn -> File.rm_rf!(folder) end)

    %{
      code:
        "(__import__('sys').path.append(folder), __import__('py_streams_numbers'))[1].numbers(closed, count)",
      folder: folder
    }
  end

  defp open(context, closed, count \\ 1_000_000),
    do: :py.eval(context.code, %{folder: context.folder, closed: closed, count: count})

  test "stream/3,4 and stream_eval/1,2 give the whole of an iterator" do
    assert :py.stream(:itertools, :repeat, ["x", 3]) == {:ok, ["x", "x", "x"]}
    assert :py.stream(:builtins, :iter, [[1, :none]]) == {:ok, [1, :none]}
    assert :py.stream(:itertools, "accumulate", [[1, 2]], %{initial: 5}) == {:ok, [5, 6, 8]}
    assert :py.stream_eval(~c"(x * x for x in range(4))") == {:ok, [0, 1, 4, 9]}
    assert :py.stream_eval("(x for x in range(n))", %{n: 2}) == {:ok, [0, 1]}
    assert :py.stream_eval("(None for _ in range(2))") == {:ok, [:none, :none]}
  end

  test "only iterators stream" do
    assert :py.stream_eval("[1, 2]") == {:ok, [[1, 2]]}
    assert :py.stream_eval("'ab'") == {:ok, ["ab"]}
    assert :py.stream(:math, :sqrt, [16]) == {:ok, [4.0]}
  end

  test "an error is the answer" do
    assert :py.stream_eval("(1 / n for n in (1, 0))") ==
             {:error, {:ZeroDivisionError, ~c"division by zero"}}

    assert :py.stream_eval("nope") == {:error, {:NameError, ~c"name 'nope' is not defined"}}
    assert :py.stream(1, :f, []) == {:error, :invalid_args}
    assert :py.stream_eval(:nope) == {:error, :invalid_args}
  end

  test "stream_start/3,4 sends each item" do
    {:ok, ref} = :py.stream_start(:builtins, :iter, [[1, 2]])
    assert_receive {:py_stream, ^ref, {:data, 1}}, 5_000
    assert_receive {:py_stream, ^ref, {:data, 2}}
    assert_receive {:py_stream, ^ref, :done}
    assert :py.stream_cancel(ref) == :ok

    {:ok, ref} = :py.stream_start(:builtins, :map, [], %{})
    assert_receive {:py_stream, ^ref, {:error, {:TypeError, _text}}}, 5_000
    assert :py.stream_start(1, 2, 3) == {:error, :invalid_args}
  end

  test "stream_cancel/1 stops it, and no message comes later" do
    {:ok, ref} = :py.stream_start(:itertools, :count, [])
    assert_receive {:py_stream, ^ref, {:data, 0}}, 5_000
    assert :py.stream_cancel(ref) == :ok
    flush(ref)
    refute_receive {:py_stream, ^ref, _event}, 20
    assert :py.stream_cancel(ref) == :ok
    assert :py.stream_cancel(:nothing) == {:error, :invalid_args}
  end

  test "a pushed stream ends with its process" do
    test = self()

    owner =
      spawn(fn ->
        {:ok, ref} = :py.stream_start(:itertools, :count, [])
        send(test, {:ref, ref})
        receive do: (:stop -> :ok)
      end)

    assert_receive {:ref, ref}, 5_000
    [{holder, nil}] = Registry.lookup(ErlangPython.Answers, {:stream, ref})
    monitor = Process.monitor(holder)
    Process.exit(owner, :kill)
    assert_receive {:DOWN, ^monitor, :process, ^holder, _reason}
  end

  test "a generator that eval or call returns is read by a handle", %{tmp_dir: dir} = context do
    closed = Path.join(dir, "closed")
    {:ok, stream} = open(context, closed, 2)
    assert :py.stream_next(stream) == {:ok, 0}
    assert :py.stream_next(stream, 5_000) == {:ok, 1}
    assert :py.stream_next(stream) == :done
    assert :py.stream_next(stream) == :done
    assert File.exists?(closed)

    {:ok, stream} = :py.call(:itertools, :count, [5])
    assert :py.stream_next(stream) == {:ok, 5}
    assert :py.stream_close(stream) == :ok
    assert :py.stream_next(stream) == :done
    assert :py.stream_close(stream) == :ok

    {:ok, stream} = :py.eval("(1 // n for n in (0,))")
    assert {:error, {:ZeroDivisionError, _text}} = :py.stream_next(stream)

    assert :py.stream_next(stream) == :done

    for handle <- [:nothing, {:py_stream, :default, nil, %{}, make_ref()}] do
      assert :py.stream_next(handle) == {:error, :invalid_args}
      assert :py.stream_close(handle) == {:error, :invalid_args}
    end
  end

  test "closing a handle runs the generator's finally", %{tmp_dir: dir} = context do
    closed = Path.join(dir, "closed")
    {:ok, stream} = open(context, closed)
    assert :py.stream_next(stream) == {:ok, 0}
    refute File.exists?(closed)
    assert :py.stream_close(stream) == :ok
    assert File.exists?(closed)
  end

  test "a handle's stream closes with the process that made the call",
       %{tmp_dir: dir} = context do
    closed = Path.join(dir, "closed")

    {_pid, ref} =
      spawn_monitor(fn ->
        {:ok, stream} = open(context, closed)
        {:ok, 0} = :py.stream_next(stream)
      end)

    assert_receive {:DOWN, ^ref, :process, _pid, :normal}, 5_000
    await_file(closed)
  end

  test "a stream that was closed before its end is no stream that has ended",
       %{tmp_dir: dir} = context do
    test = self()

    {_pid, ref} =
      spawn_monitor(fn ->
        {:ok, stream} = open(context, Path.join(dir, "of_owner"))
        {:ok, 0} = :py.stream_next(stream)
        send(test, {:stream, stream})
      end)

    assert_receive {:stream, stream}
    assert_receive {:DOWN, ^ref, :process, _pid, :normal}
    await_file(Path.join(dir, "of_owner"))
    assert :py.stream_next(stream) == {:error, :cancelled}
    assert :py.stream_next(stream) == {:error, :cancelled}
    assert :py.stream_close(stream) == :ok
    assert :py.stream_next(stream) == :done

    {:ok, stream} = :py.eval("(__import__('time').sleep(60) for _ in range(1))")
    assert :py.stream_next(stream, 20) == {:error, :timeout}
    assert :py.stream_next(stream) == {:error, :cancelled}
  end

  test "readers that share a stream all see its end" do
    for _round <- 1..20 do
      {:ok, stream} = :py.eval("(n for n in range(20))")

      read = fn ->
        fn -> :py.stream_next(stream) end
        |> Stream.repeatedly()
        |> Enum.take_while(&(&1 != :done))
      end

      readers = for _reader <- 1..4, do: Task.async(read)
      items = readers |> Task.await_many(60_000) |> Enum.concat() |> Enum.sort()
      assert items == for(n <- 0..19, do: {:ok, n})
    end
  end

  test "a generator of call_async belongs to the process that started it" do
    {:ok, stream} = :py.await(:py.call_async(:builtins, :iter, [[1]]))
    assert {:py_stream, :default, _table, %{owner: owner}, _seen} = stream
    assert owner == self()
    assert :py.stream_next(stream) == {:ok, 1}
    assert :py.stream_next(stream) == :done
  end

  test "py_pool:request/1" do
    ref = make_ref()
    assert :py_pool.request({:stream_eval, ref, self(), "(n for n in range(m))", %{m: 2}}) == :ok
    assert_receive {:py_chunk, ^ref, 0}, 5_000
    assert_receive {:py_chunk, ^ref, 1}
    assert_receive {:py_end, ^ref}

    ref = make_ref()
    assert :py_pool.request({:stream, ref, self(), :math, :sqrt, [-1]}) == :ok
    assert_receive {:py_error, ^ref, {:ValueError, _message}}, 5_000

    ref = make_ref()
    assert :py_pool.request({:stream_eval, ref, self(), "1"}) == :ok
    assert_receive {:py_chunk, ^ref, 1}, 5_000
    assert_receive {:py_end, ^ref}

    for bad <- [:nothing, {:stream_eval, 1, self(), "1"}, {:stream, ref, self(), 1, 2, []}],
        do: assert(:py_pool.request(bad) == {:error, :invalid_args})
  end

  test "streams leave nothing behind" do
    {:ok, handle} = Handle.fetch(:default)
    assert {:ok, _items} = :py.stream_eval("(x for x in range(10))")
    mine = :ets.select(handle.streams, [{{{self(), :_}, :_, :_}, [], [true]}])
    assert mine == []
  end

  defp flush(ref) do
    receive do
      {:py_stream, ^ref, _event} -> flush(ref)
    after
      0 -> :ok
    end
  end
end
