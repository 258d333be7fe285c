defmodule ErlangPython.Pool.RemainsTest do
  use ExUnit.Case, async: true

  alias ErlangPython.Pool.Remains
  alias ErlangPython.Worker.Running

  # As a worker's file says it that began these in turn.
  defp begun(%{tmp_dir: dir}, ids) do
    {:ok, {path, _device} = file} = Running.create(dir, "running")
    File.write!(path, [<<List.last(ids, 0)::64>>, for(id <- ids, do: <<id::64>>)])
    Running.read(file)
  end

  defp all(_id), do: true
  defp window(ids), do: for(id <- ids, do: {id, :window})

  @tag :tmp_dir
  test "what had not begun is for another worker", context do
    assert Remains.split(window([7, 8, 9]), begun(context, [6, 7]), &all/1) ==
             {[{7, :running}], [8, 9]}

    assert Remains.split(window([7, 8]), begun(context, []), &all/1) == {[], [7, 8]}
    assert Remains.split([], begun(context, [7]), &all/1) == {[], []}
  end

  @tag :tmp_dir
  test "a result that had not left is lost", context do
    assert Remains.split(window([5, 6, 7]), begun(context, [5, 6]), &all/1) ==
             {[{6, :running}, {5, :ended}], [7]}
  end

  @tag :tmp_dir
  test "those that are nested in others hear of it first", context do
    requests = [{9, :beside}, {5, :window}, {12, :beside}]

    assert Remains.split(requests, begun(context, [5]), &all/1) ==
             {[{12, :running}, {9, :running}, {5, :running}], []}
  end

  @tag :tmp_dir
  test "for what nobody waits no other worker works", context do
    assert Remains.split(window([5, 6, 7]), begun(context, [5]), &(&1 != 6)) ==
             {[{6, :waiting}, {5, :running}], [7]}
  end

  @tag :tmp_dir
  test "what is for this worker only, and had not begun, is lost with what held it", context do
    requests = [
      {5, :pinned},
      {6, :context},
      {7, :refs},
      {8, :context},
      {9, :pinned},
      {10, :stream}
    ]

    assert Remains.split(requests, begun(context, [5, 6]), &all/1) ==
             {[
                {10, {:waiting, :stream}},
                {9, :waiting},
                {8, {:waiting, :context}},
                {7, {:waiting, :refs}},
                {6, :running},
                {5, :ended}
              ], []}
  end

  @tag :tmp_dir
  test "what the ring may have forgotten may have run", context do
    begun = begun(context, Enum.to_list(1..256))
    requests = for id <- 1..256, do: {id, :context}
    assert {lost, []} = Remains.split([{300, :context} | requests], begun, &all/1)
    assert {300, :running} in lost
    # As soon as one of these has got its end, it has forgotten none that is open.
    assert {lost, []} = Remains.split([{300, :context} | tl(requests)], begun, &all/1)
    assert {300, {:waiting, :context}} in lost
  end

  test "where it is not known what had begun, all may have" do
    assert Remains.split(window([5, 6]), :unknown, &all/1) == {[{6, :running}, {5, :running}], []}
  end

  test "a worker that ended in order had begun nothing that is left" do
    assert Remains.split(window([5, 6]), Running.none(), &all/1) == {[], [5, 6]}
  end
end
